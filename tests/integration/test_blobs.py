"""Payloads and large results between real processes: killed in the middle of them, refused, and moved by hand."""

from __future__ import annotations

import asyncio
import random
from hashlib import shake_256
from typing import Final

import pytest

from agents.chunks import download, upload
from tests.integration.mesh_process import Mesh, MeshProcess, in_mesh, run_mesh

PATH: Final = "waldur.brics.notebook.shared"
SIZE: Final = 4_194_300
"""Characters of the payload, and of the result that gives it back: two quotes more are 4 MiB, all but two bytes."""

ECHO: Final = """
from __future__ import annotations

from agents import Agent, Context

agent = Agent()


@agent.handler
async def echo(context: Context) -> str:
    payload = await context.payload()
    assert payload is not None
    print("echoes", context.id, flush=True)
    return payload.decode()


@agent.handler
async def long(size: int) -> str:
    return "x" * size


@agent.handler
async def table(rows: int) -> list[int]:
    return list(range(rows))
"""


def text(seed: int) -> bytes:
    """Bytes that are text, do not repeat, and are others for each seed."""
    return shake_256(seed.to_bytes(4, "big")).hexdigest(SIZE // 2).encode()


async def chain(mesh: Mesh) -> tuple[MeshProcess, ...]:
    agents = (
        mesh.make("waldur", "portal"),
        mesh.make("brics", "provider"),
        mesh.make("notebook", "platform"),
        mesh.make("shared", "instance", handlers=ECHO),
    )
    await mesh.line(*agents)
    return agents


async def put(agent: MeshProcess, command: str, payload: bytes) -> str:
    async with await agent.calls() as calls:
        answer = await calls.request("put", command=command, payload=await upload(calls, payload))
        job_id: str = answer["job"]["id"]
        return job_id


async def result(agent: MeshProcess, job_id: str) -> bytes:
    async with await agent.calls() as calls:
        return await download(calls, job_id)


async def restart(victims: list[MeshProcess]) -> None:
    await asyncio.gather(*(agent.kill() for agent in victims))
    await asyncio.gather(*(agent.start() for agent in victims))


@pytest.mark.slow
@in_mesh(240)
async def test_bytes_arrive_whole_whoever_dies_on_their_way(mesh: Mesh) -> None:
    """SIGKILL in the middle of a payload on its way down, and of the result on its way up, over three hops."""
    chance = random.Random(20_260_102)
    agents = await chain(mesh)
    waldur, *_, shared = agents
    for round_, victims in enumerate(((0,), (1,), (2,), (3,), (0, 1, 2, 3))):
        payload = text(round_)
        job_id = await put(waldur, f"{PATH} echo", payload)
        # The moment of the kill is the chance of it; it need not hit, and most do.
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        await restart([agents[n] for n in victims])
        await shared.out.matching(f"echoes {job_id}")
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        await restart([agents[n] for n in victims])
        (job,) = await waldur.finished([job_id])
        assert (job["state"], job["error"]) == ("complete", None)
        assert (job["result"], job["result_bytes"], job["payload_bytes"]) == (None, SIZE + 2, SIZE)
        assert await result(waldur, job_id) == b'"' + payload + b'"'
    for agent in agents:
        assert await agent.jobs(live=True) == []


@in_mesh(60)
async def test_a_result_of_50_mb_is_refused_and_the_link_stays_up(mesh: Mesh) -> None:
    waldur, shared = mesh.make("waldur", "portal"), mesh.make("shared", "instance", handlers=ECHO)
    await mesh.line(waldur, shared)
    jobs, _ = await waldur.put_and_wait(["waldur.shared long 50000000"])
    (job,) = jobs
    assert (job["state"], job["error"]["kind"], job["error"]["agent"]) == ("error", "failed", "shared")
    told = "the handler returned a result of 50000002 bytes, at most 4194304 are taken"
    assert job["error"]["message"] == told
    (after,), _ = await waldur.put_and_wait(["waldur.shared long 5"])
    assert after["result"] == "xxxxx"
    assert not [line for line in [*waldur.log.lines, *shared.log.lines] if "closed" in line or "ended" in line]


@in_mesh(90)
async def test_the_command_line_sends_files_and_saves_results(mesh: Mesh) -> None:
    waldur, shared = mesh.make("waldur", "portal"), mesh.make("shared", "instance", handlers=ECHO)
    await mesh.line(waldur, shared)
    payload, saved = mesh.root / "payload", mesh.root / "saved"
    payload.write_bytes(text(7))
    where = ("-C", waldur.home)

    code, said, remarks = await run_mesh(*where, "put", "--payload", payload, "waldur.shared", "echo", cwd=mesh.root)
    assert (code, "a result of 4.0 MiB" in said, "--output FILE" in remarks) == (0, True, True), said + remarks
    short = said.split()[0]
    code, said, remarks = await run_mesh(*where, "job", short, "--output", saved, cwd=mesh.root)
    assert (code, saved.read_bytes()) == (0, payload.read_bytes()), remarks
    assert f"written to {saved}" in said

    code, said, _ = await run_mesh(
        *where, "put", "--json", "--payload", "-", "waldur.shared", "echo", cwd=mesh.root, given="from the input"
    )
    assert (code, '"result":"from the input"' in said, '"payload_bytes":14' in said) == (0, True, True), said

    code, said, _ = await run_mesh(*where, "submit", "--payload", payload, "waldur.shared", "echo", cwd=mesh.root)
    assert code == 0
    await waldur.finished([said.strip()])

    code, said, _ = await run_mesh(*where, "put", "waldur.shared", "table", "100000", cwd=mesh.root)
    table = said.split()[0]
    assert code == 0
    await waldur.stop()
    # Without the agent, straight from its store.
    code, said, _ = await run_mesh(*where, "job", table, "--output", "-", cwd=mesh.root)
    assert (code, said) == (0, "[" + ",".join(map(str, range(100_000))) + "]\n")
    code, said, _ = await run_mesh(*where, "job", short, "--json", cwd=mesh.root)
    assert '"result":null' in said
    assert f'"result_bytes":{SIZE + 2}' in said


@in_mesh(60)
async def test_the_command_line_says_what_is_wrong_with_a_payload(mesh: Mesh) -> None:
    waldur, shared = mesh.make("waldur", "portal"), mesh.make("shared", "instance", handlers=ECHO)
    await mesh.line(waldur, shared)
    large = mesh.root / "large"
    large.write_bytes(bytes(4_194_305))
    where = ("-C", waldur.home)
    for file, code, words in (
        (large, "MESH-E404", "a payload has at most 4194304 bytes"),
        (mesh.root / "nothing", "MESH-E002", "No such file or directory"),
        (mesh.root, "MESH-E002", "Is a directory"),
    ):
        for verb in ("put", "submit"):
            status, said, remarks = await run_mesh(
                *where, verb, "--payload", file, "waldur.shared", "echo", cwd=mesh.root
            )
            assert (status, said) == (2, "")
            assert code in remarks
            assert words in remarks
            assert "fix: " in remarks
    status, _, remarks = await run_mesh(
        *where, "put", "--payload", large, "-", cwd=mesh.root, given="waldur.shared x\n"
    )
    assert (status, "one --payload cannot go with many commands" in remarks) == (2, True)
    (job,), _ = await waldur.put_and_wait(["waldur.shared long 5"])
    status, said, remarks = await run_mesh(*where, "job", job["short"], "--output", "no/such/folder", cwd=mesh.root)
    assert (status, said, "MESH-E002" in remarks) == (2, "", True)
    assert await waldur.jobs() == [job]
