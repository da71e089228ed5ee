from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from agents.api import METHODS, text_of
from agents.calls import CallFailed
from grammar.openportal import VOCABULARY
from tests.agents.doors import COMMAND, House, in_loop, two_agents


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_method_is_typed_and_documented(method: Any) -> None:
    assert method.help.endswith(".")
    assert method.params.model_json_schema()["type"] == "object"
    assert TypeAdapter(method.result).json_schema()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([COMMAND], COMMAND),
        (["portal.cluster", "add_user", "fred.proj.org"], COMMAND),
        (["portal.cluster", "add_user fred.proj.org"], COMMAND),
        (["a.b", "say", "two words", ""], 'a.b say "two words" ""'),
        (["a.b", "say", 'quo"te', "title=two words"], 'a.b say quo"te title="two words"'),
        (["a.b", "say", '{"a": 1}'], 'a.b say "{\\"a\\": 1}"'),
    ],
)
def test_words_become_one_text(words: list[str], text: str) -> None:
    assert text_of(words) == text


def test_a_parameter_that_takes_the_rest_of_the_line_may_be_one_quoted_word() -> None:
    text = text_of(["portal.cluster", "notify", "user_added fred.proj.org"])
    rest = [d for d in VOCABULARY if d.parameters and d.parameters[-1].rest]
    assert rest, "the language has instructions whose last argument takes the rest of the line"
    assert text.startswith("portal.cluster notify ")


async def answered(house: House, method: str, **params: Any) -> Any:
    async with await house.calls() as calls:
        return await calls.request(method, **params)


@in_loop
async def test_answers_have_their_published_shape(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        done = await answered(house, "put", command=COMMAND)
        await (await house.portal.job(done["job"]["id"])).wait(10)
        failed = await answered(house, "put", command="portal.cluster remove_user jane.admin.org")
        await (await house.portal.job(failed["job"]["id"])).wait(10)
        asked: dict[str, dict[str, Any]] = {
            "put": {"command": ["portal.cluster", "add_user", "fred.proj.org"]},
            "put_many": {"commands": [COMMAND, "nonsense", COMMAND], "keys": ["a", "b", "a"], "views": True},
            "jobs": {"live": None},
            "job": {"id": failed["job"]["short"]},
            "watch": {"id": done["job"]["id"]},
            "unfollow": {"subscription": 1},
            "upload": {"data": "YWJj"},
            "result": {"id": done["job"]["id"]},
            "cancel": {"id": done["job"]["id"]},
            "dead": {},
            "retry": {"id": failed["job"]["id"]},
            "peers": {},
            "trust": {},
            "believe": {"route": "cluster.account"},
            "invite": {"peer": "third"},
            "wait_for_peer": {"name": "cluster"},
            "info": {},
            "rpc.discover": {},
            "delete": {"id": done["job"]["id"]},
            "revoke": {"peer": "cluster"},
        }
        for name, params in asked.items():
            answer = await answered(house, name, **params)
            TypeAdapter(METHODS[name].result).validate_python(answer, strict=True)
        assert {*asked, "join"} == {*METHODS}


@in_loop
async def test_put_many_answers_in_order_and_a_key_is_one_job(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        answer = await answered(
            house,
            "put_many",
            commands=[COMMAND, "portal", "portal.nobody add_user fred.proj.org", COMMAND, COMMAND],
            keys=["k1", "k2", "k3", "k4", "k1"],
        )
        first, no_instruction, no_peer, second, again = answer["jobs"]
        assert first["id"] == again["id"] != second["id"]
        assert no_instruction["error"]["code"] == "MESH-E100"
        assert no_peer["error"]["code"] == "MESH-E401"
        with pytest.raises(CallFailed, match="as many keys"):
            await answered(house, "put_many", commands=[COMMAND], keys=["a", "b"])


@in_loop
async def test_jobs_come_in_pages(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        await answered(house, "put_many", commands=[COMMAND] * 7)
        seen, after = [], 0
        while True:
            page = await answered(house, "jobs", live=None, after=after, limit=3)
            seen += [job["id"] for job in page["jobs"]]
            after = page["next"]
            if not after:
                break
        assert len(set(seen)) == len(seen) == 7


@in_loop
async def test_cancel_and_delete(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        put = await answered(house, "put", command="portal.cluster hold it")
        await house.held.wait()
        await answered(house, "cancel", id=put["job"]["short"])
        view = await (await house.portal.job(put["job"]["id"])).wait(10)
        assert view.state == "cancelled"
        deleted = await answered(house, "delete", id=put["job"]["short"])
        assert deleted["state"] == "cancelled"
        ids = [job["id"] for job in (await answered(house, "jobs", live=None))["jobs"]]
        assert put["job"]["id"] not in ids


@in_loop
async def test_the_second_invitation_names_the_port_that_is_open(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        made = await answered(house, "invite", peer="third")
        assert made["urls"] == [house.portal.running.peering.address]


@in_loop
async def test_waiting_for_a_peer_has_an_end(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        assert await answered(house, "wait_for_peer", kind="instance") == "cluster"
        with pytest.raises(CallFailed, match="no link to nobody") as caught:
            await answered(house, "wait_for_peer", name="nobody", timeout=0.01)
        assert caught.value.exit_code == 5
