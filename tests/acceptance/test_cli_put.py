"""`put` and `submit`, as users and scripts call them."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from tests.acceptance.shell import Shell

FIELDS = {
    *("id", "short", "path", "instruction", "state", "version", "result", "result_type", "error", "created", "changed"),
    *("expires", "attempt", "role", "boards"),
}


def test_put_ends_with_the_result(joined: Shell) -> None:
    done = joined.mesh("-C", "portal", "put", "portal.cluster", "add_user", "fred.proj.org")
    assert done.code == 0
    assert re.fullmatch(r'[0-9a-f]{8}  portal > cluster  complete  "account created"  [\d.]+ m?s\n', done.out)
    assert "mesh -C portal job" in done.err


def test_put_takes_one_string_too(joined: Shell) -> None:
    done = joined.mesh("-C", "portal", "put", "portal.cluster add_user fred.proj.org", "--json")
    assert done.code == 0
    assert done.record["instruction"] == "add_user fred.proj.org"
    assert done.err == ""


def test_a_job_as_json(joined: Shell) -> None:
    job = joined.mesh("-C", "portal", "put", "--json", "portal.cluster", "add_user", "fred.proj.org").record
    assert job.keys() >= FIELDS
    assert (job["path"], job["state"], job["role"]) == (["portal", "cluster"], "complete", "origin")
    assert (job["result"], job["result_type"], job["error"]) == ("account created", "str", None)
    assert job["boards"] == ["cluster"]
    assert job["created"] <= job["changed"] < job["expires"]
    assert job["id"][12:20] == job["short"]


@pytest.mark.parametrize(
    "value", ["two words", "", 'say "hi"', '{"a": [1, 2]}', "naïve ☃", "a\nb", "x=y z", "back\\slash", "  edges  "]
)
def test_each_argument_is_one_value(joined: Shell, value: str) -> None:
    done = joined.mesh("-C", "portal", "put", "portal.cluster", "echo", value, "--json")
    assert done.code == 0, done.out
    assert done.record["result"] == value


def test_an_argument_may_begin_with_a_dash(joined: Shell) -> None:
    done = joined.mesh("-C", "portal", "put", "--json", "portal.cluster", "echo", "--", "-5")
    assert done.record["result"] == "-5"
    wrong = joined.mesh("-C", "portal", "put", "portal.cluster", "echo", "-5")
    assert wrong.code == 2
    assert "after --" in wrong.err


def test_a_job_that_fails_is_exit_code_1(joined: Shell) -> None:
    done = joined.mesh("-C", "portal", "put", "portal.cluster", "remove_user", "jane.admin.org")
    assert done.code == 1
    assert 'You are not allowed to remove the account for "jane"' in done.out
    job = joined.mesh("-C", "portal", "put", "portal.cluster", "remove_user", "jane.admin.org", "--json").record
    assert job["error"]["kind"] == "failed"
    assert job["error"]["agent"] == "cluster"
    assert job["result"] is None


def test_submit_says_the_id_and_watch_goes_on(joined: Shell) -> None:
    done = joined.mesh("-C", "portal", "submit", "portal.cluster", "hold", "submitted")
    assert done.code == 0
    assert re.fullmatch(r"[0-9a-f]{52}\n", done.out)
    (joined.folder / "cluster" / "release.submitted").touch()
    watched = joined.mesh("-C", "portal", "watch", done.out[12:20], "--json")
    assert watched.code == 0
    assert watched.records[-1]["result"] == "submitted"


def test_the_same_key_is_the_same_job(joined: Shell) -> None:
    words = ("-C", "portal", "submit", "--key", "monday", "portal.cluster", "add_user", "fred.proj.org")
    assert joined.mesh(*words).out == joined.mesh(*words).out
    other = joined.mesh("-C", "portal", "submit", "--key", "monday", "portal.cluster", "add_user", "jane.proj.org")
    assert other.code == 2
    assert "monday" in other.err


def test_a_timeout_detaches_and_the_job_goes_on(joined: Shell) -> None:
    words = ("portal.cluster", "hold", "patience")
    done = joined.mesh("-C", "portal", "put", *words, "--timeout", "0.3", "--key", "patience")
    assert done.code == 5
    assert re.search(r"mesh -C portal watch [0-9a-f]{8}", done.err)
    again = joined.mesh("-C", "portal", "put", *words, "--timeout", "0.3", "--key", "patience", "--json")
    assert again.code == 5
    assert again.record["state"] in {"pending", "claimed", "running"}
    (joined.folder / "cluster" / "release.patience").touch()
    assert joined.mesh("-C", "portal", "put", *words, "--key", "patience").code == 0


def test_ctrl_c_detaches(joined: Shell) -> None:
    process = joined.start("-C", "portal", "put", "--key", "left", "portal.cluster", "hold", "left")
    held = joined.folder / "cluster"
    while not joined.mesh("-C", "portal", "jobs", "--state", "running", "--json").out:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 5
    assert "Traceback" not in err
    assert "mesh -C portal watch" in err
    assert "portal > cluster" in out
    (held / "release.left").touch()
    assert joined.mesh("-C", "portal", "put", "--key", "left", "portal.cluster", "hold", "left").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("portal.clusta", "add_user", "fred.proj.org"), "cluster"),
        (("portal", "add_user", "fred.proj.org"), "MESH-E"),
        (("portal.portal", "add_user", "fred.proj.org"), "MESH-E"),
        (("portal.cluster.portal", "add_user", "fred.proj.org"), "MESH-E"),
        (("portal.cluster", "add_usr", "fred.proj.org"), "add_user"),
        (("portal.cluster", "add_user"), "MESH-E100"),
        (("portal.cluster", "add_user", "fred.proj.org", "more"), "MESH-E100"),
        (("portal.cluster", "add_user", "fred"), "MESH-E100"),
        (("Portal.Cluster", "add_user", "fred.proj.org"), "MESH-E"),
        (("cluster.portal", "add_user", "fred.proj.org"), "portal"),
        (("portal.cluster",), "MESH-E100"),
        (("",), "MESH-E"),
        (("portal.cluster add_user fred.proj.org", "--life", "0"), "MESH-E001"),
        (("portal.cluster add_user fred.proj.org", "--life", "1e9"), "MESH-E400"),
        (("portal.cluster add_user fred.proj.org", "--zone", "elsewhere"), "MESH-E401"),
        (("portal.cluster add_user fred.proj.org", "--zone", "NO ZONE"), "MESH-E"),
        (("portal.cluster", "echo", "x" * 5000), "MESH-E"),
        (("-", "--key", "k"), "MESH-E001"),
    ],
)
def test_what_the_origin_can_know_to_be_wrong(joined: Shell, words: tuple[str, ...], said: str) -> None:
    before = joined.mesh("-C", "portal", "jobs", "--all", "--json").out
    done = joined.mesh("-C", "portal", "submit", *words)
    assert done.code == 2, done
    assert done.out == ""
    assert re.match(r"error MESH-E\d{3}: ", done.err)
    assert said in done.err
    told = joined.mesh("-C", "portal", "submit", "--json", *words)
    assert told.code == 2
    assert {"code", "message", "fix"} <= told.record["error"].keys()
    assert joined.mesh("-C", "portal", "jobs", "--all", "--json").out == before


def test_many_lines_are_answered_in_order(joined: Shell) -> None:
    many = 2_000
    lines = "".join(f"portal.cluster echo {n}\n" for n in range(many))
    done = joined.mesh("-C", "portal", "put", "-", "--json", given=lines)
    assert done.code == 0
    assert [job["result"] for job in done.records] == [str(n) for n in range(many)]
    ids = joined.mesh("-C", "portal", "submit", "-", given=lines)
    assert ids.code == 0
    assert len(set(ids.lines)) == many


def test_bad_lines_answer_for_themselves(joined: Shell) -> None:
    lines = b"portal.cluster echo a\nnonsense\n\nportal.cluster \xff\xfe\nportal.cluster echo b\r\nportal.x echo c"
    done = joined.mesh("-C", "portal", "submit", "-", "--json", given=lines)
    assert done.code == 2
    assert [record.get("line") for record in done.records] == [None, 2, 3, 4, None, 6]
    assert all("code" in record["error"] for record in done.records if "line" in record)
    assert [job["instruction"] for job in done.records if "id" in job] == ["echo a", "echo b"]
    human = joined.mesh("-C", "portal", "put", "-", given=lines)
    assert human.code == 2
    assert len(human.lines) == 6


def test_a_failed_job_among_many_is_exit_code_1(joined: Shell) -> None:
    lines = "portal.cluster add_user fred.proj.org\nportal.cluster remove_user jane.admin.org\n"
    assert joined.mesh("-C", "portal", "put", "-", given=lines).code == 1
    assert joined.mesh("-C", "portal", "submit", "-", given=lines).code == 0


def test_no_lines_are_no_answers(joined: Shell) -> None:
    done = joined.mesh("-C", "portal", "put", "-", given="")
    assert (done.code, done.out) == (0, "")


def test_a_line_that_comes_alone_is_answered_alone(joined: Shell) -> None:
    process = joined.start("-C", "portal", "put", "-", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for n in range(3):
        process.stdin.write(f"portal.cluster echo {n}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"] == str(n)
    assert process.communicate(timeout=10)[0] == ""
    assert process.returncode == 0


def test_lines_that_take_too_long_are_not_known_yet(joined: Shell) -> None:
    lines = "portal.cluster hold late\nportal.cluster echo quick\n"
    done = joined.mesh("-C", "portal", "put", "-", "--json", "--timeout", "1", given=lines)
    (joined.folder / "cluster" / "release.late").touch()
    assert done.code == 5
    late, quick = done.records
    assert (late["line"], late["error"]["code"]) == (1, "MESH-E601")
    assert quick["result"] == "quick"


def test_a_closed_pipe_is_no_error(joined: Shell) -> None:
    process = joined.start("-C", "portal", "jobs", "--all", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(10) == 0
