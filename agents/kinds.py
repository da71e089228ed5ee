"""What an agent is for. A kind is a row of a table, not a class: no code path depends on it but through its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from invitations.card import KINDS


@dataclass(frozen=True, slots=True)
class KindOfAgent:
    """One kind: what it is for, and whether a fresh folder of it gets an example handler."""

    name: str
    purpose: str
    runs_handlers: bool


_PURPOSES: Final = (
    ("portal", "puts jobs for the users and projects it speaks for", False),
    ("provider", "passes jobs on from portals to platforms", False),
    ("platform", "passes jobs on to its instances", False),
    ("instance", "does the jobs of one installation, itself or by its account, filesystem and scheduler agents", True),
    ("bridge", "lets programs talk to the mesh over HTTP", False),
    ("account", "keeps accounts", True),
    ("filesystem", "keeps home and project directories, and quotas", True),
    ("scheduler", "keeps a batch scheduler's accounts and limits", True),
    ("custom", "does what its handlers do", True),
)

TABLE: Final[Mapping[str, KindOfAgent]] = MappingProxyType({row[0]: KindOfAgent(*row) for row in _PURPOSES})
assert set(TABLE) == set(KINDS), "every kind has its row"
