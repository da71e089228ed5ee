"""Damaged files beside the store: each is refused with one sentence and one fix, or says what it said before.

A person edits `mesh.toml`, so another value in it is no damage by itself; the other two say what their keys signed or
made, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from grammar.errors import MeshError
from invitations.config import Config, load_config
from invitations.identity import Identity, load_identity, save_identity
from invitations.invitation import load_invitation, make_invitation
from tests.mesh.pair import START_MS, card_of, identity_of
from tests.totals import Totals

NOW = START_MS / 1000
CONFIG = """# Configuration of an agent.
version = 1

[agent]
name = "cluster"
kind = "instance"
zone = "lab"
listen = "0.0.0.0:7400"

[limits]
credit_jobs = 500

[[access.allow]]
origin = "portal"
instruction = "add_user"
zone = "lab"
"""


def config(path: Path) -> object:
    assert isinstance(load_config(path), Config)
    return Config


def identity(path: Path) -> object:
    found = load_identity(path)
    return found.private_bytes(), found.fingerprint


def invitation(path: Path) -> object:
    return load_invitation(path, NOW)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """By name, a good file and what reads it."""
    named = {name: tmp_path / f"{name}.toml" for name in ("mesh", "identity", "invitation")}
    named["mesh"].write_text(CONFIG)
    save_identity(named["identity"], Identity.generate(Random(1).randbytes))
    made = make_invitation(
        identity_of("portal"),
        card_of("portal"),
        name="cluster",
        zone="lab",
        urls=("ws://127.0.0.1:7400",),
        now=int(NOW),
        random=Random(2).randbytes,
    )
    named["invitation"].write_text(made.to_toml())
    for path in named.values():
        path.chmod(0o600)
    return {"mesh": (named["mesh"], config), "identity": (named["identity"], identity)} | {
        "invitation": (named["invitation"], invitation)
    }


def damaged(content: bytes, random: Random) -> Iterator[bytes]:
    for place in range(len(content)):
        yield content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]
    for size in range(0, len(content), 5):
        yield content[:size]
    for place in range(0, len(content), 64):
        yield content[:place] + bytes(64) + content[place + 64 :]
        yield content[:place] + random.randbytes(64) + content[place + 64 :]
    yield from (b"", b"\0" * 4_096, b"\xff\xfe", b"dear diary\n" * 50, random.randbytes(2_000), content + content)


@pytest.mark.parametrize("name", ["mesh", "identity", "invitation"])
def test_a_damaged_file_is_refused_or_says_the_same(
    files: dict[str, tuple[Path, Callable[[Path], object]]], name: str, totals: Totals
) -> None:
    path, load = files[name]
    whole, content = load(path), path.read_bytes()
    counts: Counter[str] = Counter()
    violations = []
    for number, damage in enumerate(damaged(content, Random(3))):
        path.write_bytes(damage)
        try:
            found = load(path)
        except MeshError as error:
            counts["refused"] += 1
            if not (error.code.startswith("MESH-E") and error.fix and "\n" not in error.message):
                violations.append(f"damage {number}: {error!r} does not say what to do")
        else:
            counts["harmless"] += 1
            if found != whole:
                violations.append(f"damage {number}: the file says something else, and is believed")
    fates = {fate: counts[fate] for fate in sorted(counts)}
    totals.add("corruptions", corruptions=counts.total(), **fates, violations=len(violations))
    assert violations[:5] == []
    assert counts["refused"] > 100
