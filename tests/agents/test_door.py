from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.door import AT_ONCE, MOST_IN_BATCH, Door
from agents.doorway import MAX_LINE, knock
from agents.errors import AgentError
from tests.agents.doors import COMMAND, House, in_loop, two_agents


class Raw:
    """A caller that says exactly what the test wants said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, line: bytes | object) -> None:
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        self.writer.write(data + b"\n")
        await self.writer.drain()

    async def hear(self) -> Any:
        line = await self.reader.readline()
        return json.loads(line) if line else None

    async def ask(self, line: bytes | object) -> Any:
        await self.say(line)
        return await self.hear()


@asynccontextmanager
async def raw(house: House) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_unix_connection(sock=knock(house.home), limit=1 << 24)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


def request(method: str, number: object = 1, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@in_loop
async def test_what_is_no_request_is_answered_and_the_line_goes_on(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        for said, number, code in (
            (b"", None, -32700),
            (b"{", None, -32700),
            (b"\xff\xfe", None, -32700),
            (b"[" * 100_000, None, -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":"info","params":{"x":NaN}}', None, -32700),
            (b"7", None, -32600),
            (b'"info"', None, -32600),
            ({"id": 3, "method": "info"}, 3, -32600),
            ({"jsonrpc": "1.0", "id": 3, "method": "info"}, 3, -32600),
            ({"jsonrpc": "2.0", "id": 3, "method": 5}, 3, -32600),
            (request("no_such_method", 4), 4, -32601),
            ({"jsonrpc": "2.0", "id": 5, "method": "info", "params": [1]}, 5, -32602),
            (request("info", 6, stranger=1), 6, -32602),
            (request("put", 7), 7, -32602),
            (request("put", 8, command=[]), 8, -32602),
            (request("put", 9, command=COMMAND, life_s=-1), 9, -32602),
            (request("jobs", 10, states=["asleep"]), 10, -32602),
            (request("jobs", 11, limit=10**30), 11, -32602),
            (request("jobs", 12, after=10**30), 12, -32602),
            (request("job", 13, id="\ud800"), None, -32700),
            (request("put", 14, command="portal.cluster add_user \ud800"), None, -32700),
            ([], None, -32600),
            ([request("info")] * (MOST_IN_BATCH + 1), None, -32600),
        ):
            answer = await caller.ask(said)
            assert (answer["id"], answer["error"]["code"]) == (number, code), (str(said)[:80], answer)
            assert answer["error"]["data"]["code"] == "MESH-E506"
            assert answer["error"]["data"]["message"]
        assert (await caller.ask(request("info")))["result"]["name"] == "portal"


@in_loop
async def test_an_unknown_method_names_the_nearest(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        answer = await caller.ask(request("pears"))
        assert "peers" in answer["error"]["data"]["fix"]


@in_loop
async def test_a_refusal_carries_what_people_are_shown(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        answer = await caller.ask(request("put", command="portal.clusta add_user fred.proj.org"))
        data = answer["error"]["data"]
        assert answer["error"]["code"] == -32000
        assert (data["code"], data["exit_code"]) == ("MESH-E401", 2)
        assert "cluster" in data["fix"]
        answer = await caller.ask(request("put", command="portal.cluster add_user fred"))
        data = answer["error"]["data"]
        assert data["code"] == "MESH-E100"
        assert data["column"] >= 1
        assert data["expected"]


@in_loop
async def test_a_bug_is_answered_without_its_insides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("secret insides")

    async with two_agents(tmp_path) as house, raw(house) as caller:
        monkeypatch.setattr(house.portal.running.peering, "listed", broken)
        answer = await caller.ask(request("peers", 5))
        assert answer["error"]["code"] == -32603
        assert "secret" not in json.dumps(answer)


@in_loop
async def test_a_notification_is_not_answered(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        await caller.say({"jsonrpc": "2.0", "method": "info"})
        await caller.say({"jsonrpc": "2.0", "method": "job", "params": {"id": "zz"}})
        assert (await caller.ask(request("info", "last")))["id"] == "last"


@in_loop
async def test_a_batch_is_answered_in_one_line(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        batch = [request("info", 1), {"jsonrpc": "2.0", "method": "info"}, request("nothing", 2), 5]
        answers = await caller.ask(batch)
        assert sorted((str(answer["id"]), "result" in answer) for answer in answers) == [
            ("1", True),
            ("2", False),
            ("None", False),
        ]
        await caller.say([{"jsonrpc": "2.0", "method": "info"}])
        assert (await caller.ask(request("info", 9)))["id"] == 9


@in_loop
async def test_a_line_that_is_too_long_ends_the_call_and_no_other(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as other:
        async with raw(house) as caller:
            caller.writer.write(b"x" * (MAX_LINE + 2) + b"\n")
            answer = await caller.hear()
            assert answer["error"]["code"] == -32600
            assert await caller.hear() is None
        assert (await other.ask(request("info")))["result"]["name"] == "portal"


@in_loop
async def test_requests_may_be_pipelined(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        many = 3 * AT_ONCE
        caller.writer.write(b"".join(json.dumps(request("info", n)).encode() + b"\n" for n in range(many)))
        answers = [await caller.hear() for _ in range(many)]
        assert {answer["id"] for answer in answers} == set(range(many))


@in_loop
async def test_a_followed_job_is_told_to_its_end(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        await caller.say(request("put", command="portal.cluster hold it", follow="changes"))
        await house.held.wait()
        house.release.set()
        states, number = [], None
        while True:
            said = await caller.hear()
            if "result" in said:
                number = said["result"]["subscription"]
                continue
            assert said["method"] == "job"
            states.append(said["params"]["job"]["state"])
            if states[-1] == "complete":
                break
        assert said["params"]["subscription"] == number
        assert said["params"]["job"]["result"] == "it"
        assert (await caller.ask(request("unfollow", subscription=number)))["result"] is False


@in_loop
async def test_a_job_that_is_over_is_told_at_once(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        put = request("put", command=COMMAND, key="once", follow="end")
        first = [await caller.ask(put), await caller.hear()]
        again = [await caller.ask(put), await caller.hear()]
        ids = {m["params"]["job"]["id"] for m in (*first, *again) if "params" in m}
        assert len(ids) == 1


@in_loop
async def test_many_jobs_that_are_over_are_told_all(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        keys = [str(n) for n in range(20)]
        put = request("put_many", commands=[COMMAND] * 20, keys=keys, follow="end")
        for _ in range(2):
            await caller.say(put)
            told = [await caller.hear() for _ in range(21)]
            assert len({said["params"]["job"]["id"] for said in told if "params" in said}) == 20


@in_loop
async def test_nothing_is_told_after_unfollow(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        answer = await caller.ask(request("put", command="portal.cluster hold it", follow="end"))
        number = answer["result"]["subscription"]
        await house.held.wait()
        assert (await caller.ask(request("unfollow", subscription=number)))["result"] is True
        house.release.set()
        handle = await house.portal.job(answer["result"]["job"]["id"])
        assert (await handle.wait(10)).state == "complete"
        assert (await caller.ask(request("info", "next")))["id"] == "next"


@in_loop
async def test_hanging_up_leaves_what_was_put(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        async with raw(house) as caller:
            answer = await caller.ask(request("put", command="portal.cluster hold it", follow="changes"))
            await house.held.wait()
        house.release.set()
        handle = await house.portal.job(answer["result"]["job"]["id"])
        assert (await handle.wait(10)).result == "it"


@in_loop
async def test_closing_the_door_ends_the_calls_and_removes_the_socket(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, raw(house) as caller:
        await caller.ask(request("info"))
        path = house.portal.running.settings.socket_path
        path.unlink()
        second = Door(house.portal.running)
        await second.open()
        async with raw(house) as another:
            await another.ask(request("info"))
            await another.say(request("wait_for_peer", name="nobody"))
            await second.close()
            assert await another.hear() is None
        assert not path.exists()
        assert (await caller.ask(request("info")))["result"]["name"] == "portal"


@in_loop
async def test_a_door_that_cannot_open_says_why(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        path = house.cluster.running.settings.socket_path
        path.unlink()
        path.write_text("a file")
        with pytest.raises(AgentError, match="local door"):
            await Door(house.cluster.running).open()
        assert path.read_text() == "a file"


@in_loop
async def test_a_caller_that_hangs_up_while_it_is_told_something_is_no_fault(tmp_path: Path) -> None:
    """Both the reading and the telling task of the call notice; nothing of it reaches the log as a bug."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with two_agents(tmp_path) as house:
        for _ in range(3):
            async with raw(house) as caller:
                # Answers are on their way and unread: the kernel resets the line.
                caller.writer.write(b"".join(json.dumps(request("info", n)).encode() + b"\n" for n in range(2_000)))
                await caller.reader.read(1)
                caller.writer.transport.abort()
            async with raw(house) as caller:
                assert (await caller.ask(request("info")))["result"]["name"] == "portal"
        # Their tasks are over, and nobody holds one that failed.
        await asyncio.gather(*house.portal.door._calls, return_exceptions=True)
        gc.collect()
    assert faults == []
