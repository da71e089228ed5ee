"""The instructions that verbs without an agent know: the language's own, and those of installed packages."""

from __future__ import annotations

from agents.cli.showing import say_error
from agents.plugins import installed
from agents.records import error_record
from grammar.vocabulary import Vocabulary


def known_here() -> Vocabulary:
    """All that can be used; a package whose instructions cannot is told about on standard error."""
    found = installed()
    for fault in found.faults:
        say_error(error_record(fault), as_json=False)
    return found.vocabulary
