"""Domain patterns: exact, anything below, or one address."""

from __future__ import annotations

import pytest

from grammar.domains import DomainPattern, check_email
from grammar.errors import GrammarError


@pytest.mark.parametrize("text", ["example.com", "*.example.com", "fred@example.com", "a", "A-1.b2", "f.r+e_d%-@x.y"])
def test_taken(text: str) -> None:
    assert DomainPattern.parse(text) == text


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("*", 1),
        ("*.", 3),
        ("*.*.com", 3),
        ("a.*.com", 3),
        ("a..b", 3),
        (".com", 1),
        ("-a.com", 1),
        ("a-.com", 1),
        ("a_b.com", 1),
        (" a.com", 1),
        ("é.com", 1),
        ("@a.com", 1),
        ("fr ed@a.com", 3),
        ("a@b@c", 3),
        ("fred@", 6),
    ],
)
def test_refused(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        DomainPattern.parse(text)
    assert caught.value.column == column


def test_matching() -> None:
    exact, below, address = map(DomainPattern.parse, ("Example.com", "*.example.com", "Fred@example.com"))
    assert exact.matches("example.COM")
    assert not exact.matches("a.example.com")
    assert below.matches("a.b.example.com")
    assert not below.matches("example.com")
    assert not below.matches("badexample.com")
    assert not address.matches("example.com")
    assert address.matches_email("fred@EXAMPLE.com")
    assert not address.matches_email("jane@example.com")
    assert exact.matches_email("jane@example.com")
    assert below.matches_email("jane@x.example.com")
    assert not below.matches_email("nobody")
    assert address.is_email
    assert not exact.is_email


def test_an_address_needs_an_at() -> None:
    with pytest.raises(GrammarError):
        check_email("fred")
