"""What is wrong is said at once where it can be known, and by the agent that knows it where it cannot."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.integration.mesh_process import QUICK, Mesh, in_mesh, run_mesh

pytestmark = pytest.mark.slow

KNOWN_AT_THE_ORIGIN: Final = (
    # command, what the message names, what the fix or message offers
    ("nowhere.cluster add_user fred.proj.org", "nowhere", ""),
    ("portal.nowhere add_user fred.proj.org", "nowhere", ""),
    ("portal add_user fred.proj.org", "single agent", ""),
    ("portal.cluster.portal add_user fred.proj.org", "portal", ""),
    ("portal.cluster ad_user fred.proj.org", "ad_user", "add_user"),
    ("portal.cluster remove_user fred.proj.org", "remove_user", ""),
    ("portal.cluster add_user", "add_user", ""),
    ("portal.cluster add_user fred.proj.org jane.proj.org", "takes 1 argument", ""),
    ("portal.cluster add_user fred", "project", ""),
    ("portal.cluster", "", ""),
)


@in_mesh(60)
async def test_what_the_origin_can_know_is_refused_and_not_stored(mesh: Mesh) -> None:
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance", handlers=QUICK)
    await mesh.line(portal, cluster)
    given = "".join(f"{command}\n" for command, _, _ in KNOWN_AT_THE_ORIGIN)
    code, answer, _ = await run_mesh("-C", portal.home, "put", "-", "--json", cwd=mesh.root, given=given)
    assert code == 2
    answers = [json.loads(line) for line in answer.splitlines()]
    assert [one["line"] for one in answers] == list(range(1, len(KNOWN_AT_THE_ORIGIN) + 1))
    for one, (command, named, offered) in zip(answers, KNOWN_AT_THE_ORIGIN, strict=True):
        error = one["error"]
        assert error["code"].startswith("MESH-E"), (command, error)
        assert error["exit_code"] == 2, (command, error)
        assert named in error["message"], (command, error)
        assert offered in json.dumps(error), (command, error)
    assert await portal.jobs() == []

    # One by one it is the same, for people.
    code, answer, remarks = await run_mesh(
        "-C", portal.home, "put", "portal.cluster", "ad_user", "fred.proj.org", cwd=mesh.root
    )
    assert (code, answer) == (2, "")
    assert remarks.startswith("error MESH-E")
    assert "add_user" in remarks
    assert await portal.jobs() == []


@in_mesh(60)
async def test_what_only_others_can_know_comes_back_with_agent_rule_and_fix(mesh: Mesh) -> None:
    portal, provider = mesh.make("portal", "portal"), mesh.make("provider", "provider")
    other, cluster = mesh.make("other", "portal"), mesh.make("cluster", "instance", handlers=QUICK)
    await mesh.join(provider, await mesh.invite(other, "provider"))
    await other.start()
    await mesh.line(portal, provider, cluster)
    await provider.linked_to("other")

    async def put(home: str, *words: str) -> tuple[int, str, str]:
        code, answer, _ = await run_mesh("-C", mesh.root / home, "put", *words, "--json", cwd=mesh.root)
        error = json.loads(answer.splitlines()[-1])["error"]
        return code, error["agent"], f"{error['kind']}: {error['message']} | {error['fix']}"

    (first,) = await portal.finished(await portal.put(["portal.provider.cluster add_user fred.proj.org"]))
    assert first["state"] == "complete"
    code, agent, said = await put("other", "other.provider.cluster", "add_user", "jane.proj.org")
    assert (code, agent) == (4, "cluster"), said
    assert '"org"' in said

    code, agent, said = await put("portal", "portal.provider.cluster", "dance", "slowly")
    assert (code, agent) == (1, "cluster"), said
    assert '"dance"' in said

    code, agent, said = await put("portal", "portal.provider.nowhere", "add_user", "fred.proj.org")
    assert (code, agent) == (1, "provider"), said
    assert '"nowhere"' in said


@in_mesh(30)
async def test_files_that_are_not_what_they_should_be(mesh: Mesh) -> None:
    portal = mesh.make("portal", "portal")
    (mesh.root / "letter.toml").write_text("dear = 'friend'\n")
    code, answer, remarks = await run_mesh("-C", portal.home, "join", "letter.toml", cwd=mesh.root)
    assert (code, answer) == (2, "")
    assert remarks.startswith("error MESH-E")
    assert "letter.toml" in remarks
    assert "fix: " in remarks

    with (portal.home / "mesh.toml").open("a") as configuration:
        configuration.write("\n[store]\nmax_byte = 5\n")
    for verb in ("run", "peers"):
        code, answer, remarks = await run_mesh("-C", portal.home, verb, cwd=mesh.root)
        assert (code, answer) == (2, ""), verb
        assert "max_byte" in remarks
        assert "max_bytes" in remarks, "the nearest known key is named"
