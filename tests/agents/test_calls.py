from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.calls import CallFailed, CallLost, Calls, JobLost, NoAgent, NotRunning, open_calls
from agents.doorway import CONFIG, SOCKET, bind
from tests.agents.doors import in_loop

Answer = Callable[[dict[str, Any]], list[Any] | None]


@asynccontextmanager
async def agent(home: Path, answer: Answer) -> AsyncIterator[Calls]:
    """A caller of an agent that answers each request with some documents, or by hanging up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            documents = answer(json.loads(line))
            if documents is None:
                break
            for document in documents:
                writer.write((document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n")
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=bind(home / SOCKET))
    try:
        async with await open_calls(home) as calls:
            yield calls
    finally:
        server.close()


def result(request: dict[str, Any], value: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "result": value}


@in_loop
async def test_an_answer_goes_to_who_asked(tmp_path: Path) -> None:
    held: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> list[Any]:
        held.append(request)
        return [result(one, one["params"]["n"]) for one in reversed(held)] if len(held) == 3 else []

    async with agent(tmp_path, answer) as calls:
        assert await asyncio.gather(*(calls.request("echo", n=n) for n in range(3))) == [0, 1, 2]


@in_loop
async def test_a_batch_of_answers_is_taken_apart(tmp_path: Path) -> None:
    async with agent(tmp_path, lambda request: [[result(request, 1), {"id": None, "error": {}}]]) as calls:
        assert await calls.request("x") == 1


@in_loop
async def test_a_refusal_keeps_all_that_was_said(tmp_path: Path) -> None:
    data = {"code": "MESH-E100", "message": "no", "fix": "so", "exit_code": 2, "column": 7}

    def answer(request: dict[str, Any]) -> list[Any]:
        return [{"id": request["id"], "error": {"code": -32000, "message": "no", "data": data}}]

    async with agent(tmp_path, answer) as calls:
        with pytest.raises(CallFailed) as caught:
            await calls.request("x")
        assert caught.value.to_record() == data


@in_loop
async def test_news_may_come_before_the_answer(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        news = {"method": "job", "params": {"subscription": 1, "job": {"state": "complete"}}}
        return [news, result(request, {"subscription": 1})]

    async with agent(tmp_path, answer) as calls:
        number = (await calls.request("watch"))["subscription"]
        assert (await calls.subscription(number).get())["state"] == "complete"


@in_loop
async def test_a_lost_job_is_told_in_place_of_a_view(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        error = {"code": "MESH-E342", "message": "damaged", "fix": "put it again", "exit_code": 2}
        params = {"subscription": 7, "id": "a1", "short": "a", "error": error}
        done = {"subscription": 7, "job": {"id": "b2", "state": "complete"}}
        news = [{"jsonrpc": "2.0", "method": "job", "params": one} for one in (params, done)]
        return [*news, {"jsonrpc": "2.0", "id": request["id"], "result": None}]

    async with agent(tmp_path, answer) as calls:
        await calls.request("watch")
        with pytest.raises(JobLost) as lost:
            await calls.subscription(7).get()
        assert (lost.value.code, lost.value.fix, lost.value.more["id"]) == ("MESH-E342", "put it again", "a1")
        assert (await calls.subscription(7).get())["id"] == "b2", "others go on"


@pytest.mark.parametrize("documents", [None, [b"no JSON"]])
@in_loop
async def test_a_lost_line_is_told_to_everybody(tmp_path: Path, documents: list[Any] | None) -> None:
    async with agent(tmp_path, lambda request: documents) as calls:
        waiting = calls.subscription(5)
        with pytest.raises(CallLost):
            await calls.request("x")
        for _ in range(2):
            with pytest.raises(CallLost):
                await waiting.get()
        assert calls.lost
        with pytest.raises(CallLost):
            await calls.request("y")
        with pytest.raises(CallLost):
            await calls.subscription(6).get()


@in_loop
async def test_nobody_opens(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        await open_calls(tmp_path)
    (tmp_path / CONFIG).touch()
    with pytest.raises(NotRunning) as caught:
        await open_calls(tmp_path)
    assert caught.value.exit_code == 3
    assert caught.value.fix == f"start it: mesh -C {tmp_path} run"
