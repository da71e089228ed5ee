"""Whatever the text: it is taken and comes back the same, or it is refused with a column. Nothing else, and soon.

The number of inputs is HOPBOARD_FUZZ (200,000 by default); the seed is HOPBOARD_FUZZ_SEED.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from grammar import VOCABULARY, Command, GrammarError, declare, parse_kind
from grammar.kinds import KINDS
from tests.totals import Totals

COUNT = int(os.environ.get("HOPBOARD_FUZZ", "200000"))
MOST_FOUND = 3_000
_WORDS = re.compile(r"\w+")
_QUOTED = re.compile(r'"[^"]*"|[0-9]+')
SEED = int(os.environ.get("HOPBOARD_FUZZ_SEED", "1"))


def start(id: int, name: str = "x y", *, tags: list[str] = (), ratio: float = 1.0, note: str | None = None) -> None:  # type: ignore[assignment]
    """Takes arguments of every form."""


VOCABULARY_PLUS = VOCABULARY.extended(declare(start, keyword="vm_manager.start"))
SEEDS: tuple[tuple[str, str], ...] = (
    *(("instruction", declaration.example) for declaration in VOCABULARY),
    *(("command", f"portal.cluster {declaration.example}") for declaration in VOCABULARY),
    ("instruction", 'vm_manager.start 1 "a b" tags=["a","b"] note="\\u00e9\\n" ratio=0.5'),
    ("command", "a.b vm_manager.start id=1"),
    ("instruction", "submit a.b submit c.d submit e.f add_user x.y.z"),
    ("instruction", 'create_award p.o {"notes":[{"timestamp":"2026-01-01T00:00:00Z","author":"a","text":"b  c"}]}'),
    *(("user", "fred.proj.org"), ("project", "proj.org"), ("portal", "org"), ("template", "gpu-cluster")),
    *(("user_mapping", "fred.proj.org:fred:grp"), ("project_mapping", "proj.org:grp"), ("destination", "a.b.c.d")),
    *(("destinations", "[a.b, c.d]"), ("date", "2026-02-29"), ("date_range", "2024-02-29:2024-03-01")),
    *(("date_range", "this_week"), ("usage", "10 hours"), ("storage_size", "1500GB"), ("storage_size", "1.5 TB")),
    *(("quota_limit", "unlimited"), ("quota_limit", "10 G B"), ("quota", "100GB used 50GB"), ("allocation", "none")),
    *(("allocation", "1e5 node hours"), ("domain_pattern", "*.example.com"), ("domain_pattern", "f@example.com")),
    *(("notification", "user_added fred.proj.org"), ("notification", "a.b award_added proj.org")),
)
PIECES = (
    *' .:"\\{}[]=,-_/*@+%\t\n\r\0\x7f\ud800\u0301\u2028\u3000\u0661éÅß物🙂09azAZ',
    *("  ", '""', '\\"', "\\u0041", "\\ud800", "null", "NaN", "1e999", "-1", "0", "9" * 45, "999999999999999999999"),
    *("used", "none", "unlimited", "seconds", "today", "submit a.b ", "add_user ", "note=", "id=", "x" * 70, "[" * 40),
    *("0001-01-01", "9999-12-31", "last_year", "PB", "bytes", "18446744073709551616", ".5", "1e-400"),
)


def mutated(text: str, other: str, choose: random.Random) -> str:
    """A text with up to four cuts, joins, repetitions and insertions."""
    for _ in range(choose.randrange(1, 5)):
        at, to = sorted((int(choose.random() * (len(text) + 1)), int(choose.random() * (len(text) + 1))))
        to = min(to, at + choose.randrange(12))
        what = int(choose.random() * 6)
        if what == 0:
            text = text[:at] + text[to:]
        elif what == 1:
            text = text[:at] + choose.choice(PIECES) + text[at:]
        elif what == 2:
            text = text[:at] + choose.choice(PIECES) + text[to:]
        elif what == 3:
            text = text[:at] + text[at:to] * 2 + text[to:]
        elif what == 4:
            text = text[:at] + chr(int(choose.random() * 0x250)) + text[to:]
        else:
            text = text[:at] + other[at : at + choose.randrange(60)] + text[to:]
    return text


def outcome(kind: str, answer: dict[str, Any]) -> str:
    """What happened, without the words of the text: a new one makes the text worth mutating further."""
    if answer["ok"]:
        return f"{kind} {_WORDS.sub('x', answer['canonical'])[:40]}"
    return f"{kind} {_QUOTED.sub('', answer['error'])}"


def check(kind: str, text: str) -> dict[str, Any]:
    """The answer for a text; fails when a text that is taken does not come back the same."""
    answer = parse_kind(kind, text, vocabulary=VOCABULARY_PLUS)
    if answer["ok"]:
        again = parse_kind(kind, answer["canonical"], vocabulary=VOCABULARY_PLUS)
        assert again == answer, (kind, text, answer, again)
    else:
        assert 1 <= answer["column"] <= len(text) + 1, (kind, text, answer)
    return answer


def test_fuzz(totals: Totals) -> None:
    choose = random.Random(SEED)
    found, seen, taken, slowest = list(SEEDS), set[str](), 0, (0.0, "", "")
    for _ in range(COUNT):
        kind, text = choose.choice(SEEDS if choose.random() < 0.6 else found)
        text = mutated(text, choose.choice(found)[1], choose)
        if choose.random() < 0.05:
            kind = choose.choice(KINDS)
        before = time.perf_counter()
        answer = check(kind, text)
        # What seems slow is timed again, alone, since others are at work here.
        if time.perf_counter() - before > slowest[0]:
            slowest = max(slowest, (min(_seconds(kind, text) for _ in range(3)), kind, text))
        taken += answer["ok"]
        if len(found) < MOST_FOUND and len(text) < 300 and (result := outcome(kind, answer)) not in seen:
            seen.add(result)
            found.append((kind, text))
    seconds, kind, text = slowest
    print(f"{COUNT:,} inputs from seed {SEED}: {taken:,} taken, slowest {seconds * 1000:.3f} ms: {kind} {text!r}")
    totals.add("fuzz", inputs=COUNT, violations=0)
    assert taken > COUNT // 20, "the texts are too far from good ones to be of use"


def long_texts() -> Iterator[str]:
    """Texts of 4 KiB, each of one piece over and over: what is slow is slow on one of them."""
    for piece in (
        " ",
        '"',
        "\\",
        "a.",
        "a:",
        "a b ",
        "[",
        "{",
        '{"a":',
        "é",
        "e\u0301",
        "9",
        "1 ",
        "=",
        "a=",
        'a="',
        "x",
        "-",
        "_a",
        "a-",
    ):
        for start in ("", "a.b ", "a.b add_user ", "a.b submit c.d ", "a.b set_limit p.o ", "a.b create_project p.o "):
            yield start + (piece * 4096)[: 4096 - len(start)]
    for start in (
        'a.b create_project p.o {"name":"',
        "a.b update_homedir f.p.o ",
        "a.b add_offerings ",
        "a.b vm_manager.start tags=",
    ):
        yield start + ("x," * 4096)[: 4090 - len(start)] + '"}'
    yield "a.b " + "submit a.b " * 371
    for marks in ("\u0307\u0323", "\u0344", "\u0345\u0334", "a" + "\u0323\u0307" * 15):
        for start in ("", "a", "a.b add_user a.b.", "add_user a.b."):
            yield start + marks * ((4096 - len(start)) // len(marks.encode()))
    for start in ("a.b ", ""):
        for opening, item, end in (
            ('create_project p.o {"allowed_domains":[', '""', "]}"),
            ('create_project p.o {"allowed_domains":[', '"a.b"', "]}"),
            ('create_project p.o {"notes":[', "0", "]}"),
            ('create_project p.o {"members":{', '"%d":0', "}}"),
            ('create_project p.o {"members":{', '"%d":""', "}}"),
            ('create_project p.o {"breakdown":{', '"%d":""', "}}"),
            ("create_project p.o {", '"%d":0', "}"),
            ("vm_manager.start 1 tags=[", '""', "]"),
            ("vm_manager.start 1 tags=[", "1", "]"),
            ("vm_manager.start 1 tags=[", '{"a":1}', "]"),
            ("add_offerings [", "a%d.b", "]"),
            ("set_project_quota p.o v ", "1 ", "GB"),
        ):
            yield filled(start + opening, item, end)


def filled(start: str, item: str, end: str) -> str:
    """As many items as there is room for; each with its number where it has a place for one."""
    items: list[str] = []
    room = 4096 - len(start) - len(end)
    while room >= 0:
        items.append(item % len(items) if "%d" in item else item)
        room -= len(items[-1]) + 1
    return start + ",".join(items[:-1]) + end


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_of_4_kib_takes_longer_than_5_ms(kind: str) -> None:
    for text in long_texts():
        check(kind, text)
        fastest = min(_seconds(kind, text) for _ in range(5))
        assert fastest < 0.005, (kind, text[:60], fastest)


def _seconds(kind: str, text: str) -> float:
    """What reading the text costs, in seconds of this thread: others are at work on these machines."""
    before = time.thread_time()
    parse_kind(kind, text, vocabulary=VOCABULARY_PLUS)
    return time.thread_time() - before


def test_a_million_characters_are_refused_at_once() -> None:
    for piece in ("a", " ", ".", '"', "[", "é"):
        text = piece * 1_000_000
        for kind in KINDS:
            assert not parse_kind(kind, text)["ok"]
        with pytest.raises(GrammarError):
            Command.parse(text, VOCABULARY)
