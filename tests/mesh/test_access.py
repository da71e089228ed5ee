"""The one decision: handlers, rules, and who may speak for a portal, each refusal with agent, rule and fix."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from grammar.instruction import Declaration, Instruction
from grammar.openportal import VOCABULARY
from grammar.vocabulary import Vocabulary
from invitations.fingerprint import fingerprint_text
from mesh.access import CONTROL, Access, Denial, Rule
from tests.mesh.pair import identity_of

ANNA, BERT, CARL = (identity_of(name).fingerprint for name in ("anna", "bert", "carl"))


def access(**rules: Any) -> Access:
    return Access("cluster", VOCABULARY, **{"runs": None, **rules})


def verdict(rules: Access, keyword: str = "add_user", name: str = "portal", zone: str = "lab") -> str | None:
    denial = rules.by_rules(keyword, zone, name, ANNA)
    return None if denial is None else denial.message


# -- what is built in ---------------------------------------------------------------------------------------------

PING = Vocabulary([Declaration("ping")])


def test_what_is_built_in_is_read_without_a_handler() -> None:
    assert isinstance(access(runs=frozenset(), built_in=PING).read("ping"), Instruction)
    assert isinstance(access(runs=frozenset()).read("ping"), Denial)


def test_what_is_built_in_is_for_whoever_may_put_anything() -> None:
    ours = {"allow": (Rule("portal", "add_*"), Rule("carl", "ping", "other")), "built_in": PING}
    assert verdict(access(**ours), "ping") is None
    assert verdict(access(**ours), "remove_user")
    assert verdict(access(**ours), "ping", name="stranger")
    assert verdict(access(**ours), "ping", name="carl"), "the rule about it is for another zone"
    assert verdict(access(**ours, block=(Rule("*", "p*"),)), "ping")
    assert verdict(access(allow=ours["allow"]), "ping"), "a handler of that name is like any other"


# -- reading ------------------------------------------------------------------------------------------------------


def test_an_instruction_with_a_handler_is_read() -> None:
    read = access(runs=frozenset({"add_user"})).read("add_user  fred.proj.org")
    assert isinstance(read, Instruction)
    assert str(read) == "add_user fred.proj.org"


def test_an_unknown_instruction_is_refused_with_the_nearest_that_runs_here() -> None:
    assert access().read("ad_user fred.proj.org") == Denial(
        "unknown_instruction", 'agent "cluster" has no instruction "ad_user"; did you mean "add_user"?'
    )
    only = access(runs=frozenset({"remove_user"}))
    assert only.read("ad_user fred.proj.org") == Denial(
        "unknown_instruction", 'agent "cluster" has no instruction "ad_user"'
    )


def test_an_instruction_without_a_handler_is_unknown() -> None:
    assert access(runs=frozenset()).read("add_user fred.proj.org") == Denial(
        "unknown_instruction", 'agent "cluster" has no instruction "add_user"'
    )
    assert Access("cluster", VOCABULARY).read("add_user fred.proj.org") == access(runs=frozenset()).read(
        "add_user fred.proj.org"
    )


@pytest.mark.parametrize("text", ["add_user", "add_user fred", "add_user fred.proj.org more", "ADD_USER x", ""])
def test_a_bad_argument_is_named(text: str) -> None:
    denial = access().read(text)
    assert isinstance(denial, Denial)
    assert denial.kind == "bad_argument"
    assert denial.message.startswith(f'agent "cluster" cannot read "{text}": ')


# -- rules --------------------------------------------------------------------------------------------------------


def test_without_rules_everything_may() -> None:
    assert verdict(access()) is None


@pytest.mark.parametrize("keyword", sorted(CONTROL))
def test_control_is_for_the_local_operator_whatever_the_rules_say(keyword: str) -> None:
    assert verdict(access(allow=(Rule("*", "*"),)), keyword) == (
        f'agent "cluster" takes "{keyword}" from its local operator only: run it on that machine'
    )


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule("*", "*"), True),
        (Rule("portal", "add_user"), True),
        (Rule(fingerprint_text(ANNA), "add_*"), True),
        (Rule("*", "add_user", "lab"), True),
        (Rule("*", "add_user", "other"), False),
        (Rule("waldur", "add_user"), False),
        (Rule(fingerprint_text(BERT), "*"), False),
        (Rule("*", "remove_*"), False),
        (Rule("*", "ADD_USER"), False),
    ],
)
def test_what_a_rule_matches(rule: Rule, matches: bool) -> None:
    blocked = verdict(access(block=(rule,)))
    assert (blocked is not None) is matches
    if blocked is not None:
        assert blocked == (
            f'agent "cluster" refuses "add_user" from "portal" (block rule for {rule.instruction}):'
            " ask its operator to change [access]"
        )
    assert (verdict(access(allow=(rule,))) is None) is matches


def test_an_allow_rule_refuses_what_no_allow_rule_matches() -> None:
    only = access(allow=(Rule("*", "get_*"), Rule("waldur", "add_user")))
    assert verdict(only) == (
        'agent "cluster" refuses "add_user" from "portal" (no allow rule matches): ask its operator to change [access]'
    )
    assert verdict(only, "get_users") is None
    assert verdict(only, name="waldur") is None


def test_block_beats_everything_whatever_the_order() -> None:
    for block in permutations((Rule("waldur", "*"), Rule("*", "add_*"), Rule("*", "x"))):
        rules = access(block=block, allow=(Rule("portal", "add_user"), Rule("*", "*")))
        assert "block rule for add_*" in (verdict(rules) or "")


# -- ownership ----------------------------------------------------------------------------------------------------


def claim(speaker: bytes, *, named: bytes | None, neighbour: bytes | None, first: bytes | None) -> str | None:
    rules = access(portals={} if named is None else {"org": named})
    denial = rules.claims("org", speaker, first, neighbour)
    assert denial is None or denial.kind == "denied"
    return None if denial is None else denial.message


@pytest.mark.parametrize(
    ("named", "neighbour", "first", "owner", "why"),
    [
        (None, None, None, None, None),
        (None, None, ANNA, ANNA, "another origin used it here first"),
        (None, ANNA, None, ANNA, "a portal of that name is its neighbour"),
        (None, ANNA, BERT, ANNA, "a portal of that name is its neighbour"),
        (ANNA, None, None, ANNA, "its operator named another origin for it"),
        (ANNA, BERT, None, ANNA, "its operator named another origin for it"),
        (ANNA, BERT, CARL, ANNA, "its operator named another origin for it"),
        (ANNA, None, CARL, ANNA, "its operator named another origin for it"),
    ],
)
def test_the_order_of_the_ownership_rule(
    named: bytes | None, neighbour: bytes | None, first: bytes | None, owner: bytes | None, why: str | None
) -> None:
    for speaker in (ANNA, BERT, CARL):
        message = claim(speaker, named=named, neighbour=neighbour, first=first)
        if owner in (None, speaker):
            assert message is None
        else:
            text = fingerprint_text(speaker)
            assert message == (
                f'agent "cluster" does not let {text} speak for portal "org": {why}; '
                f'to change that, its operator sets org = "{text}" under [access.portals]'
            )


def test_rules_are_values() -> None:
    assert access() == access()
    with pytest.raises(AttributeError):
        access().allow = ()  # type: ignore[misc]
