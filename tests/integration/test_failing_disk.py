"""A disk that fails under a real agent: the process stops before it says anything untrue (rule R10).

The fault is put between the agent and the kernel by a small library that is loaded before all others: `fdatasync`,
`fsync` and durable writes fail with EIO while a file of a certain name is there.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from agents.calls import CallLost
from tests.integration.mesh_process import QUICK, Mesh

pytestmark = pytest.mark.slow

FAULT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static int broken(void) {
    const char *sign = getenv("BROKEN_DISK");
    return sign != NULL && access(sign, F_OK) == 0;
}

int fdatasync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (broken()) { errno = EIO; return -1; }
    return real(descriptor);
}

int fsync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    if (broken()) { errno = EIO; return -1; }
    return real(descriptor);
}

ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) {
    ssize_t (*real)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    if (flags & RWF_DSYNC && broken()) { errno = EIO; return -1; }
    return real(descriptor, parts, count, offset, flags);
}

ssize_t pwritev64v2(int descriptor, const struct iovec *parts, int count, off64_t offset, int flags) {
    ssize_t (*real)(int, const struct iovec *, int, off64_t, int) = dlsym(RTLD_NEXT, "pwritev64v2");
    if (flags & RWF_DSYNC && broken()) { errno = EIO; return -1; }
    return real(descriptor, parts, count, offset, flags);
}
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the disk of every process started from now on breakable; its answer is the file that breaks it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here to build the fault with")
    source, library = tmp_path / "fault.c", tmp_path / "fault.so"
    source.write_text(FAULT)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    sign = tmp_path / "broken"
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("BROKEN_DISK", str(sign))
    return sign


@pytest.mark.parametrize("at", ["origin", "destination"])
def test_an_fsync_that_fails_stops_the_process_and_nothing_of_it_is_acknowledged(
    tmp_path: Path, faulty: Path, at: str
) -> None:
    asyncio.run(_failing(tmp_path, faulty, at))


async def _failing(root: Path, sign: Path, at: str) -> None:
    async with Mesh(root) as mesh, asyncio.timeout(60):
        portal = mesh.make("portal", "portal")
        cluster = mesh.make("cluster", "instance", handlers=QUICK)
        await mesh.line(portal, cluster)
        before = await portal.put([f"portal.cluster add_user a{n}.proj.org" for n in range(20)])
        await portal.finished(before)

        struck = portal if at == "origin" else cluster
        if at == "destination":
            # Only one of the two is to break: the origin's disk is sound once it runs without the fault.
            await portal.stop()
            with pytest.MonkeyPatch.context() as sound:
                sound.delenv("BROKEN_DISK")
                await portal.start()
            await portal.linked_to("cluster")
        sign.touch()
        if at == "origin":
            with pytest.raises((AssertionError, CallLost), match="the agent stopped before it answered"):
                await portal.put(["portal.cluster add_user lost.proj.org"])
            kept = []
        else:
            kept = await portal.put(["portal.cluster add_user kept.proj.org"])
        assert await struck.ended() != 0
        (said,) = await struck.log.matching("critical")
        assert "the disk under" in said
        (error,) = [line for line in struck.log.lines if line.startswith("error MESH-E340")]
        assert "pwritev" in error
        assert "fix: check the disk" in struck.log.lines[struck.log.lines.index(error) + 1]
        assert "Traceback" not in "\n".join(struck.log.lines)

        sign.unlink()
        await struck.start()
        for job in await portal.finished([*before, *kept]):
            assert job["state"] == "complete"
        again = await portal.put(["portal.cluster add_user again.proj.org"])
        assert [job["state"] for job in await portal.finished(again)] == ["complete"]
        known = {job["instruction"] for job in await portal.jobs()}
        assert ("add_user kept.proj.org" in known) is (at == "destination")
        assert len(known) == 21 + len(kept) + ("add_user lost.proj.org" in known), "and nothing else"
