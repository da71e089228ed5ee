from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agents.cli import streaming
from agents.cli.session import Session
from agents.cli.streaming import LONGEST, Wanted, stream
from tests.agents.doors import in_loop, two_agents


async def streamed(
    home: Path, given: bytes, *, follow: bool, as_json: bool = True, timeout: float | None = None
) -> int:
    """Stream `given` as standard input; returns the exit code."""
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(given)

    def work() -> int:
        return stream(Session(home, True), Wanted({}, as_json, follow, timeout))

    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        feeding = asyncio.to_thread(feed)
        code, _ = await asyncio.gather(asyncio.to_thread(work), feeding)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)
    return code


@in_loop
async def test_lines_are_answered_in_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [b"portal.cluster add_user fred%d.proj.org" % n for n in range(1_200)]
    lines[7] = b"nonsense"
    lines[9] = b"x" * (LONGEST + 5)
    async with two_agents(tmp_path) as house:
        assert await streamed(house.home, b"\n".join(lines), follow=False, as_json=False) == 2
        out = capfd.readouterr().out.splitlines()
        assert len(out) == 1_200
        assert out[7].startswith("line 8  error MESH-E100")
        assert out[9].startswith("line 10  error MESH-E100: the line is longer")
        assert len({*out}) == 1_200


@pytest.mark.parametrize(
    ("given", "timeout", "code"),
    [
        (b"", None, 0),
        (b"portal.cluster add_user fred.proj.org\n", None, 0),
        (b"portal.cluster remove_user fred.proj.org\n", None, 1),
        (b"portal.cluster remove_user fred.proj.org\n\n", None, 2),
        (b"portal.cluster hold it\nportal.cluster remove_user fred.proj.org", 0.3, 5),
    ],
)
@in_loop
async def test_exit_codes(tmp_path: Path, given: bytes, timeout: float | None, code: int) -> None:
    async with two_agents(tmp_path) as house:
        assert await streamed(house.home, given, follow=True, timeout=timeout) == code
        house.release.set()


@in_loop
async def test_long_input_goes_in_several_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MOST_BYTES", 300)
    monkeypatch.setattr(streaming, "MOST_LINES", 3)
    async with two_agents(tmp_path) as house:
        assert await streamed(house.home, b"portal.cluster add_user fred.proj.org\n" * 50, follow=True) == 0
        assert len(await house.portal.jobs(live=None)) == 50
