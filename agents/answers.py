"""What comes back over the local door, as the views and errors that `Agent` itself would have given."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from agents.calls import CallFailed
from agents.errors import AgentError, BytesLost, NotKnownYet
from agents.views import Failure, JobView
from grammar.errors import GrammarError, MeshError, UnknownInstruction
from mesh.errors import (
    Busy,
    CorruptRow,
    Denied,
    DiskFull,
    NoSuchJob,
    NotOurJob,
    PutRefused,
    StoreAtLimit,
    StoreFull,
    TooLarge,
    UnknownForPeer,
    UnknownPeer,
)


class Unreachable(AgentError):
    """The agent of that folder does not run, or went away for good."""

    code = "MESH-E503"
    exit_code = 3


_KNOWN: Final[Mapping[str, type[MeshError]]] = MappingProxyType(
    {
        one.code: one
        for one in (
            AgentError,
            Busy,
            BytesLost,
            CorruptRow,
            Denied,
            DiskFull,
            NoSuchJob,
            NotKnownYet,
            NotOurJob,
            PutRefused,
            StoreAtLimit,
            StoreFull,
            TooLarge,
            UnknownForPeer,
            UnknownPeer,
            Unreachable,
        )
    }
)


def view_of_record(record: Mapping[str, Any]) -> JobView:
    """The view that `JobView.to_json` wrote."""
    fields = dict(record)
    error = fields["error"]
    fields["error"] = None if error is None else Failure(**error)
    fields["path"], fields["boards"] = tuple(fields["path"]), tuple(fields["boards"])
    return JobView(**fields)


def error_of(failed: CallFailed) -> MeshError:
    """What the agent refused with, as the error that `Agent` would have raised, where that class is known."""
    if failed.code in (GrammarError.code, UnknownInstruction.code):
        kind = UnknownInstruction if failed.code == UnknownInstruction.code else GrammarError
        return kind(
            failed.message,
            column=failed.more.get("column", 1),
            expected=failed.more.get("expected", ""),
            nearest=failed.more.get("nearest"),
            fix=failed.fix,
        )
    known = _KNOWN.get(failed.code)
    if known is not None:
        return known(failed.message, fix=failed.fix)
    return AgentError(f"{failed.message} ({failed.code})", fix=failed.fix)
