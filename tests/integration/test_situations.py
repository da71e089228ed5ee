"""Twelve situations that a mesh of this kind has to stand, each with its number; real processes but where it says so.

6, a result of 50 MB, is told with the other large things.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from grammar.identifiers import UserIdentifier
from invitations.joining import psk_for
from mesh.codec import pack
from mesh.errors import HandshakeError, SessionError
from mesh.facts import ID_BYTES
from mesh.messages import Ack, Ping, Type, encode
from mesh.session import Answering, Dialing
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import memory_mesh
from tests.integration.chaos import HANDLERS
from tests.integration.fault_proxy import DOWN, UP, FaultProxy
from tests.integration.hostile_peer import hostile, keys_of, websocket_messages
from tests.integration.mesh_process import COUNTING, QUICK, ROOT, Mesh, MeshProcess, Record, environment, in_mesh

pytestmark = pytest.mark.slow


def states(jobs: list[Record]) -> Counter[str]:
    return Counter(job["state"] for job in jobs)


async def wired(mesh: Mesh, portal: MeshProcess, cluster: MeshProcess) -> FaultProxy:
    """A wire by which the cluster dials the portal, which runs; to be opened, and then joined by."""
    await mesh.invite(portal, "somebody")
    await portal.start()
    async with await portal.calls() as calls:
        return FaultProxy((await calls.request("info"))["address"])


# -- 1 to 3: agents that die, vanish, or are not there ------------------------------------------------------------


@in_mesh(90)
async def test_situation_01_every_agent_is_killed_at_once_and_no_job_is_lost_nor_its_effect_doubled(mesh: Mesh) -> None:
    handlers = HANDLERS.replace("SLOWEST", "0.5")
    portal, hop = mesh.make("portal", "portal"), mesh.make("hop", "provider")
    cluster = mesh.make("cluster", "instance", handlers=handlers, limits="handlers = 30")
    await mesh.line(portal, hop, cluster)
    ids = await portal.put([f"portal.hop.cluster add_user user{n}.proj.org" for n in range(90)])
    (first,) = await portal.finished(ids[:1])
    assert first["state"] == "complete"
    await asyncio.gather(*(agent.kill() for agent in mesh.agents))
    await asyncio.gather(*(agent.start() for agent in mesh.agents))
    assert states(await portal.finished(ids)) == {"complete": 90}
    books = sqlite3.connect(cluster.home / "books.sqlite")
    effects = Counter(job for (job,) in books.execute("SELECT job FROM effect"))
    books.close()
    assert effects == dict.fromkeys(ids, 1)


@in_mesh(60)
async def test_situation_02_a_host_vanishes_without_fin_and_its_replacement_is_live_when_it_dials(mesh: Mesh) -> None:
    """With the limits as they are: the dead link would be found after 25 s, and is replaced at once."""
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0))
    async with await wired(mesh, portal, cluster) as wire:
        await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
        await cluster.start()
        await portal.linked_to("cluster")
        wire.vanish()
        await cluster.kill()
        ids = await portal.put([f"portal.cluster add_user user{n}.proj.org" for n in range(50)])
        assert (await portal.metrics())["links"] == 1, "the portal does not know yet"
        await cluster.start()
        assert states(await portal.finished(ids)) == {"complete": 50}
        assert not any("nothing heard" in line for line in portal.log.lines)


@in_mesh(60)
async def test_situation_03_of_a_thousand_jobs_for_an_absent_peer_the_expired_report_and_the_others_run(
    mesh: Mesh,
) -> None:
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0))
    await mesh.join(cluster, await mesh.invite(portal, "cluster"))
    await portal.start()
    short = await portal.put([f"portal.cluster add_user short{n}.proj.org" for n in range(20)], life_s=0.5)
    long = await portal.put([f"portal.cluster add_user long{n}.proj.org" for n in range(980)])
    expired = await portal.finished(short)
    assert states(expired) == {"expired": 20}
    assert all("waiting for" in job["error"]["message"] and job["error"]["fix"] for job in expired)
    await cluster.start()
    assert states(await portal.finished(long)) == {"complete": 980}
    assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys(long, 1)


# -- 4 and 5: many jobs, and no waiting in between ----------------------------------------------------------------

TWO_LEVELS: Final = """
from __future__ import annotations

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    child = await context.put(f"cluster.store add_user {user}")
    return f"above {await child.result()}"
"""


@in_mesh(150)
async def test_situation_04_five_thousand_jobs_that_wait_for_jobs_do_not_stall(mesh: Mesh) -> None:
    """Twenty times as many as there are slots, so that parents alone would take them all."""
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=TWO_LEVELS)
    store = mesh.make("store", "instance", handlers=QUICK)
    await mesh.line(portal, cluster, store)
    jobs, _ = await portal.put_and_wait([f"portal.cluster add_user user{n}.proj.org" for n in range(5_000)])
    assert states(jobs) == {"complete": 5_000}
    assert all(job["result"].startswith("above store added user") for job in jobs)


@in_mesh(60)
async def test_situation_04_ten_thousand_puts_cost_as_much_each_as_a_thousand(mesh: Mesh) -> None:
    """Counted in messages and bytes on the link, without what a job says that waits long for a handler: how many do so
    depends on the machine."""
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=QUICK, limits="report_after_s = 60")
    await mesh.line(portal, cluster)
    costs = []
    for many in (1_000, 10_000):
        before = await portal.metrics()
        jobs, _ = await portal.put_and_wait([f"portal.cluster add_user user{n}.proj.org" for n in range(many)])
        assert states(jobs) == {"complete": many}
        after = await portal.metrics()
        costs.append(
            {
                what: sum(after[name] - before[name] for name in after if name.startswith(what)) / many
                for what in ("messages_total", "frame_bytes_total")
            }
        )
    print("for each job:", *costs)
    few, lots = costs
    assert lots["messages_total"] < 1.25 * few["messages_total"]
    assert lots["frame_bytes_total"] < 1.25 * few["frame_bytes_total"]


@in_loop
async def test_situation_05_no_timer_is_on_the_way_of_a_job(tmp_path: Path) -> None:
    """In one process: once its agents are linked, time stands still, and jobs are done all the same."""
    async with memory_mesh(tmp_path) as mesh:
        agents = [mesh.agent(name) for name in ("portal", "hop", "cluster")]

        @agents[-1].handler
        async def add_user(user: UserIdentifier) -> str:
            return "account created"

        for agent in agents:
            await agent.start()
        for upper, lower in pairwise(agents):
            await mesh.join(upper, lower)
        loop = asyncio.get_running_loop()

        def never(when: float, call: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
            return asyncio.TimerHandle(when, call, args, loop, context)

        call_at, loop.call_at = loop.call_at, never  # type: ignore[method-assign, assignment]
        # What was set before is taken away, too.
        waiting, loop._scheduled = loop._scheduled, []  # type: ignore[attr-defined]
        try:
            for n in range(20):
                job = await agents[0].put(f"portal.hop.cluster add_user user{n}.proj.org")
                assert await job.result() == "account created"
        finally:
            loop.call_at, loop._scheduled = call_at, waiting  # type: ignore[method-assign, attr-defined]


# -- 7 to 9: what is unknown, wrong or malicious --------------------------------------------------------------------

DANCE: Final = """
from __future__ import annotations

from agents import Agent

agent = Agent()


@agent.handler
async def dance(steps: int) -> int:
    if steps == 13:
        raise RuntimeError("fell over")
    return steps * 2
"""


@in_mesh(60)
async def test_situation_07_an_unknown_verb_crosses_a_hop_and_bad_jobs_hurt_no_others(mesh: Mesh) -> None:
    portal, hop = mesh.make("portal", "portal"), mesh.make("hop", "provider")
    cluster = mesh.make("cluster", "instance", handlers=DANCE)
    await mesh.line(portal, hop, cluster)
    wrong = {3: "dance", 7: "dance much", 13: "dance 13", 21: "leap 2", 34: "add_user fred.proj.org"}
    ids = await portal.put([f"portal.hop.cluster {wrong.get(n, f'dance {n}')}" for n in range(50)])
    jobs = await portal.finished(ids)
    assert {n: job["result"] for n, job in enumerate(jobs) if job["state"] == "complete"} == {
        n: 2 * n for n in range(50) if n not in wrong
    }
    kinds = {n: jobs[n]["error"]["kind"] for n in wrong}
    assert kinds == {
        3: "bad_argument",
        7: "bad_argument",
        13: "failed",
        21: "unknown_instruction",
        34: "unknown_instruction",
    }
    assert all(jobs[n]["error"]["agent"] == "cluster" for n in wrong)


def skewed(seconds: int) -> tuple[str, ...]:
    """An agent whose clock is off."""
    return (
        sys.executable,
        "-c",
        "import time; off = int(__import__('os').environ.get('SKEW', '{0}')); n, t = time.time_ns, time.time; "
        "time.time_ns = lambda: n() + off * 10**9; time.time = lambda: t() + off; "
        "from agents.cli import main; main()".replace("{0}", str(seconds)),
    )


@in_mesh(60)
async def test_situation_08_with_a_clock_ten_minutes_off_the_caller_is_told_why_and_jobs_run_once_it_is_right(
    mesh: Mesh,
) -> None:
    portal = mesh.make("portal", "portal")
    early = mesh.make("early", "instance", handlers=QUICK, program=skewed(-600))
    late = mesh.make("late", "instance", handlers=QUICK, program=skewed(600))
    for cluster in (early, late):
        await mesh.join(cluster, await mesh.invite(portal, cluster.name))
    await portal.start()
    await asyncio.gather(early.start(), late.start())
    # Who dials is told, and who is dialled is told what the other side found.
    for cluster in (early, late):
        await cluster.log.matching("no link to portal.*not valid now.*fix=check the clocks")
    await portal.log.matching('the card of "late" is not valid now.*fix=check the clocks')
    await portal.log.matching('"early" refused the link: .* is not valid now.*fix=check the clocks')
    async with await portal.calls() as calls:
        peers = {peer["name"]: peer for peer in await calls.request("peers")}
    assert "check the clocks" in peers["early"]["fix"]
    commands = [f"portal.{name} add_user fred.proj.org" for name in ("early", "late")]
    ids = await portal.put(commands)
    short = await portal.finished(await portal.put(commands, life_s=0.3))
    assert states(short) == {"expired": 2}
    assert all("mesh peers" in job["error"]["fix"] for job in short)
    assert states(await portal.jobs(live=True)) == {"pending": 2}

    for cluster in (early, late):
        await cluster.stop()
        cluster.program = skewed(0)
        await cluster.start()
    assert states(await portal.finished(ids)) == {"complete": 2}


@in_mesh(60)
async def test_situation_09_malformed_oversized_replayed_forged_and_wrong_role_messages_are_refused_and_logged(
    mesh: Mesh,
) -> None:
    """From a peer with good keys, one link for each; nobody else is disturbed."""
    portal = mesh.make("portal", "portal", limits="handshakes_burst = 100\nhalf_open_per_source = 50")
    rogue, other = mesh.make("rogue", "instance"), mesh.make("other", "instance", handlers=QUICK)
    await mesh.join(other, await mesh.invite(portal, "other"))
    await mesh.line(portal, rogue)
    await other.start()
    await portal.linked_to("other")
    await rogue.stop()
    settings, (row,) = await keys_of(rogue)
    (theirs,) = await portal.finished(await portal.put(["portal.other add_user fred.proj.org"]))

    async def ends(*says: bytes) -> str:
        """Say whole frames until the link is closed; the reason that is given."""
        async with hostile(settings, row) as peer:
            for plain in says:
                await peer.say_bytes(plain)
            return str(await peer.is_closed())

    assert "4400" in await ends(b"\xc1")
    await ends(b"")
    await ends(pack([[99]]))
    await ends(pack([[int(Type.PING)]]))
    await ends(pack([[int(Type.ACK), 77, 0, []]]))  # an acknowledgement of what was never sent
    # A frame said twice, and two that change places, do not open.
    async with hostile(settings, row) as peer:
        sealed = await peer.say(encode(Type.PING, Ping(1)))
        await peer.connection.send(sealed)
        await peer.is_closed()
    async with hostile(settings, row) as peer:
        first, second = (peer.session.seal(pack([[int(Type.PING), n]])) for n in (1, 2))
        await peer.connection.send(second)
        await peer.connection.send(first)
        await peer.is_closed()

    # Records in good form that say what this peer may not say: refused by number, and the link stays.
    async with hostile(settings, row) as peer:
        portal_key = row.fingerprint
        records = (
            (peer.request("portal.other", number=1), {"bad_path"}),
            (peer.request("other.portal", number=2), {"bad_path"}),
            (peer.request("rogue.other.portal", number=3), {"bad_path"}),
            (peer.request("rogue.portal", origin=portal_key, number=4), {"identity_changed", "bad_proof"}),
            (peer.outcome(bytes.fromhex(theirs["id"]), number=5), {"bad_proof", "bad_path", "identity_changed"}),
            (peer.outcome(bytes(ID_BYTES), number=6), {"unknown_job"}),
        )
        refused: dict[int, str] = {}
        for number, (record, reasons) in enumerate(records, 1):
            await peer.say(record)
            while number not in refused:
                ack = await peer.hear(Ack)
                assert isinstance(ack, Ack)
                refused |= {entry[0]: entry[1] for entry in ack.refused}  # type: ignore[misc, index]
            assert refused[number] in reasons, number
    assert (await portal.metrics())["handlers_started_total"] == 0

    log = "\n".join(portal.log.lines)
    assert "a frame does not open" in log
    assert "acknowledgement of what was never sent" in log
    assert "Traceback" not in log
    (still,) = [job for job in await portal.jobs() if job["id"] == theirs["id"]]
    assert (still["state"], still["result"]) == ("complete", theirs["result"])
    (after,) = await portal.finished(await portal.put(["portal.other add_user jane.proj.org"]))
    assert after["state"] == "complete"


# -- 10 to 12 -----------------------------------------------------------------------------------------------------

LONG: Final = """
from __future__ import annotations

import asyncio

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    print("start", context.id, flush=True)
    try:
        await asyncio.sleep(3_600)
    finally:
        print("stopped", context.id, flush=True)
"""


def test_situation_10_two_agents_live_in_one_process(tmp_path: Path) -> None:
    program = ROOT / "examples" / "two_agents" / "one_process.py"
    said = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "account created" in said.stdout


@in_mesh(60)
async def test_situation_10_pages_answer_cancel_reaches_a_handler_and_deletes_stay(mesh: Mesh) -> None:
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance", handlers=LONG)
    await mesh.line(portal, cluster)
    stopped, gone = await portal.put([f"portal.cluster add_user {name}.proj.org" for name in ("fred", "jane")])
    await cluster.out.matching("^start", 2)
    assert await portal.get("/healthz") == (200, '{"status":"ok"}')
    assert await portal.get("/readyz") == (200, '{"status":"ready"}')
    found = await portal.metrics()
    assert (found["links"], found['jobs{state="offered"}']) == (1, 2)
    assert (await portal.get("/secrets"))[0] == 404

    async with await portal.calls() as calls:
        await calls.request("cancel", id=stopped)
        await calls.request("delete", id=gone)
    await cluster.out.matching(f"^stopped {stopped}")
    await cluster.out.matching(f"^stopped {gone}")
    (job,) = await portal.finished([stopped])
    assert job["state"] == "cancelled"
    assert "effect is not known" in job["error"]["message"]

    await asyncio.gather(portal.kill(), cluster.kill())
    await asyncio.gather(portal.start(), cluster.start())
    await portal.linked_to("cluster")
    for agent in (portal, cluster):
        assert [job["id"] for job in await agent.jobs()] == [stopped]
    async with await portal.calls() as calls:
        assert (await calls.request("job", id=gone))["state"] == "deleted"
    assert sum(line.startswith("start") for line in cluster.out.lines) == 2


SAYING: Final = """
from __future__ import annotations

from agents import Agent
from grammar import Quota, QuotaLimit, UserIdentifier, Volume

agent = Agent()


@agent.handler
async def set_user_quota(user: UserIdentifier, volume: Volume, limit: QuotaLimit) -> Quota:
    print("bytes", limit.size.bytes, flush=True)
    return Quota(limit)


@agent.handler
async def say(words: str, path: str) -> str:
    return f"{words}|{path}"
"""


@in_mesh(90)
async def test_situation_11_quotas_and_texts_arrive_as_they_were_after_five_hops(mesh: Mesh) -> None:
    names = ("portal", "one", "two", "three", "four", "cluster")
    agents = [mesh.make(name, "custom", handlers=SAYING if name == names[-1] else None) for name in names]
    await mesh.line(*agents)
    words, folder = "two  spaces  and   three", "/home/fred smith/my  data"
    async with await agents[0].calls() as calls:
        put = await calls.request("put", command=[".".join(names), "say", words, folder], follow="no")
    ids = await agents[0].put([f"{'.'.join(names)} set_user_quota fred.proj.org home 1500GB"])
    said, quota = await agents[0].finished([put["job"]["id"], *ids])
    assert said["state"] == "complete", said["error"]
    assert said["result"] == f"{words}|{folder}"
    assert quota["state"] == "complete", quota["error"]
    await agents[-1].out.matching("^bytes 1610612736000$")


@in_mesh(60)
async def test_situation_12_a_recorded_session_stays_shut_when_the_keys_are_stolen_later(mesh: Mesh) -> None:
    """The thief has both folders: signing keys, link keys and the pair key. What he lacks are the keys that each side
    made for the session and threw away."""
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance", handlers=QUICK)
    async with await wired(mesh, portal, cluster) as wire:
        await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
        await cluster.start()
        await portal.linked_to("cluster")
        await cluster.stop()
        # The second link is made under the pair key, which is still in the stores.
        wire.record()
        await cluster.start()
        ids = await portal.put(["portal.cluster add_user canary.proj.org"])
        assert states(await portal.finished(ids)) == {"complete": 1}
        sent, came = (bytes(wire.ways[way].recorded or b"") for way in (UP, DOWN))
    await asyncio.gather(portal.stop(), cluster.stop())
    assert b"canary" not in sent + came

    (mine, (mine_row,)), (theirs, _) = await keys_of(cluster), await keys_of(portal)
    psk, named = psk_for(mine_row)
    said, heard = list(websocket_messages(sent)), list(websocket_messages(came))
    assert len(said) >= 3
    assert len(heard) >= 3
    # Message 1 has no forward secrecy, and says only who dials.
    answering = Answering(theirs.identity.link_key, os.urandom(32))
    greeting = answering.read(said[0])
    assert greeting.invitation_id == named
    _, session = answering.answer(psk)
    with pytest.raises(SessionError):
        session.open(said[1])
    dialing = Dialing(mine.identity.link_key, mine_row.link_public, psk, invitation_id=named, ephemeral=os.urandom(32))
    dialing.first()
    with pytest.raises(HandshakeError):
        dialing.finish(heard[0])
