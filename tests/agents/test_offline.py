from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agents import offline
from agents.agent import Agent
from agents.records import JobsRecord, Record
from agents.settings import make_home
from grammar.errors import MeshError
from mesh.errors import NoSuchJob, StoreLocked
from mesh.storage.lock import StoreLock
from mesh.storage.reader import SqliteReader
from tests.agents.doors import COMMAND, in_loop, make_cluster, two_agents

ROOT = Path(__file__).resolve().parents[2]
FAILING = "portal.cluster remove_user jane.admin.org"


def pair(folder: Path) -> tuple[Path, Path]:
    """Two folders, joined without any agent running."""
    portal, cluster = folder / "portal", folder / "cluster"
    make_home(portal, "portal", kind="portal")
    make_home(cluster, "cluster", kind="instance")
    made = offline.invite(portal, "cluster", None, None, (), ())
    file = folder / "file.toml"
    file.write_text(made["text"])
    joined = offline.join(cluster, file)
    assert (joined["name"], joined["words"], joined["up"]) == ("portal", made["words"], False)
    return portal, cluster


def listed(home: Path, live: bool | None, states: tuple[str, ...]) -> list[Record]:
    """The jobs of all pages; none of them is damaged."""
    pages = list(offline.jobs(home, live, states))
    assert not any(page["damaged"] for page in pages)
    return [job for page in pages for job in page["jobs"]]


def test_pairing_shows_on_both_sides(tmp_path: Path) -> None:
    portal, cluster = pair(tmp_path)
    (invited,) = offline.peers(portal)
    assert (invited["name"], invited["state"], invited["fingerprint"]) == ("cluster", offline.DOWN, None)
    (inviter,) = offline.peers(cluster)
    assert (inviter["name"], inviter["dials"]) == ("portal", "them"), "it is we who dial"
    (row,) = offline.trust(cluster)
    assert (row["what"], row["name"], row["fingerprint"]) == ("peer", "portal", inviter["fingerprint"])


@in_loop
async def test_what_was_paired_offline_links_when_it_runs(tmp_path: Path) -> None:
    homes = pair(tmp_path)
    cluster, _, _ = make_cluster(homes[1])
    portal = Agent("portal", home=homes[0])
    await portal.start()
    await cluster.start()
    try:
        await portal.wait_for_peer("cluster", timeout=10)
        assert await (await portal.put(COMMAND)).result(10) == "account created"
    finally:
        await portal.stop()
        await cluster.stop()


@in_loop
async def test_reading_gives_what_the_agent_gives(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        for command in (COMMAND, FAILING):
            await (await house.portal.put(command)).wait(10)
        deleted = await house.portal.put(COMMAND)
        await deleted.wait(10)
        await deleted.delete()
        # Beside the agent while it runs, and just as well without it.
        views = [view.to_json() for view in await house.portal.jobs(live=None)]
        assert listed(house.home, None, ()) == views
        assert offline.job(house.home, views[0]["short"]) == views[0]
        assert offline.job(house.home, views[0]["id"]) == views[0]
        with pytest.raises(StoreLocked):
            offline.invite(house.home, "third", None, None, (), ())
    assert listed(house.home, None, ()) == views
    assert listed(house.home, True, ()) == []
    assert [one["state"] for one in listed(house.home, None, ("error",))] == ["error"]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from mesh.effects import Batch
from mesh.storage.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.open()
for row in store.list_jobs(live=None, states=(), after=0, limit=9):
    store.apply([Batch(rows=[row._replace(facts=None)])])
os.kill(os.getpid(), signal.SIGKILL)
"""


@in_loop
async def test_reading_after_a_kill_brings_the_last_commits_into_the_tables(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        job = await house.portal.put(COMMAND)
        await job.wait(10)
        await house.portal.stop()
        store = house.home / "store.sqlite"
        dead = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(store), cwd=ROOT)
        assert await dead.wait() == -signal.SIGKILL
        with SqliteReader(store) as reader:
            assert reader.is_behind()
        lock = StoreLock(Path(f"{store}.lock"))
        lock.take()
        with pytest.raises(StoreLocked):
            listed(house.home, None, ())
        lock.release()
        assert listed(house.home, None, ()) == [], "of a job without its facts only its id is kept"
        with SqliteReader(store) as reader:
            assert not reader.is_behind()


DAMAGES = (
    "UPDATE jobs SET facts = substr(facts, 2) WHERE id = :id",
    "UPDATE jobs SET record = x'00' WHERE id = :id",
    "UPDATE jobs SET key = CAST(x'ff' AS TEXT) WHERE id = :id",
)


@in_loop
async def test_one_damaged_row_is_named_and_hides_no_other(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        jobs = [await house.portal.put(command) for command in (COMMAND, FAILING, COMMAND, FAILING, COMMAND)]
        for job in jobs:
            await job.wait(10)
        await house.portal.stop()
        for job, damage in zip(jobs[:3], DAMAGES, strict=True):
            with closing(sqlite3.connect(house.home / "store.sqlite")) as store, store:
                store.execute(damage, {"id": job.job_id})
        (page,) = offline.jobs(house.home, None, ())
        JobsRecord.model_validate(page)
        assert [one["id"] for one in page["jobs"]] == [jobs[4].id, jobs[3].id]
        assert [(one["id"], one["short"]) for one in page["damaged"]] == [(job.id, job.short) for job in jobs[2::-1]]
        for one in page["damaged"]:
            assert one["error"]["code"] == "MESH-E342"
            assert one["short"] in one["error"]["message"]
            assert one["error"]["fix"]
        (page,) = offline.dead(house.home)
        assert [one["id"] for one in page["jobs"]] == [jobs[3].id]
        assert [one["id"] for one in page["damaged"]] == [jobs[1].id], "the others were no dead letters"


def test_an_agent_that_has_never_run_has_nothing(tmp_path: Path) -> None:
    make_home(tmp_path / "new", "new")
    assert listed(tmp_path / "new", None, ()) == []
    assert offline.peers(tmp_path / "new") == []
    assert offline.trust(tmp_path / "new") == []
    with pytest.raises(NoSuchJob):
        offline.job(tmp_path / "new", "aa")


@pytest.mark.parametrize("text", ["zz", "", " ", "0123456789", "ff" * 26, "ff" * 30])
def test_ids_that_name_no_job(tmp_path: Path, text: str) -> None:
    portal, _ = pair(tmp_path)
    with pytest.raises(NoSuchJob):
        offline.job(portal, text)


@pytest.mark.parametrize(
    ("peer", "kind", "zone", "urls", "ranges"),
    [
        ("NO NAME", None, None, (), ()),
        ("portal", None, None, (), ()),
        ("../up", None, None, (), ()),
        ("third", "nonsense", None, (), ()),
        ("third", None, "NO ZONE", (), ()),
        ("third", None, None, ("http://example.org",), ()),
        ("third", None, None, (), ("nowhere",)),
        ("third", None, None, ("ws://h:1",) * 9, ()),
    ],
)
def test_invitations_that_cannot_be_leave_nothing(
    tmp_path: Path, peer: str, kind: str | None, zone: str | None, urls: tuple[str, ...], ranges: tuple[str, ...]
) -> None:
    portal, _ = pair(tmp_path)
    with pytest.raises(MeshError) as caught:
        offline.invite(portal, peer, kind, zone, urls, ranges)
    assert caught.value.code.startswith("MESH-E")
    assert [one["name"] for one in offline.peers(portal)] == ["cluster"]


def test_files_that_cannot_be_joined_leave_nothing(tmp_path: Path) -> None:
    portal, cluster = pair(tmp_path)
    files = {
        "missing": None,
        "empty": b"",
        "noise": bytes(range(256)),
        "config": (cluster / "mesh.toml").read_bytes(),
        "name": offline.invite(portal, "other", None, None, (), ())["text"].encode(),
    }
    make_home(tmp_path / "third", "third")
    files["zone"] = offline.invite(portal, "third", None, "elsewhere", (), ())["text"].encode()
    files["changed"] = files["name"].replace(b'"other"', b'"third"')  # type: ignore[union-attr]
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(MeshError):
            offline.join(tmp_path / "third", tmp_path / name)
    with pytest.raises(MeshError):
        offline.join(tmp_path / "third", tmp_path)
    assert offline.peers(tmp_path / "third") == []
