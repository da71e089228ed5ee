"""Where a job goes: the dotted path of agents from its origin to its last agent.

    portal.cluster
    waldur.brics.notebook.shared

A path names each agent once, so that "the agent before me" and "the agent after me" have one meaning at every hop.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Self

from grammar.errors import GrammarError
from grammar.identifiers import Text
from grammar.names import MAX_NAME, parse_name
from grammar.values import check_size

MAX_HOPS: Final = 16
"""Agents in one path, the origin and the last agent included."""

_NAME: Final = r"[a-z0-9](?:[-_]?[a-z0-9])*"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}){{1,{MAX_HOPS - 1}}}")
_MAX_PATH: Final = MAX_HOPS * (MAX_NAME + 1) - 1
_EXPECTED: Final = f"2 to {MAX_HOPS} agent names joined by dots, such as portal.cluster"


class Destination(Text):
    """The agents a job travels through, the origin first and the agent that does it last."""

    __slots__ = ("agents",)

    EXAMPLE: ClassVar[str] = "portal.cluster"
    agents: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `portal.cluster`: 2 to 16 different agent names; raises GrammarError."""
        agents = tuple(text.split(".")) if len(text) <= _MAX_PATH and _PATH.fullmatch(text) else ()
        too_long = len(text) > MAX_NAME and any(len(agent) > MAX_NAME for agent in agents)
        if not agents or too_long or len(set(agents)) != len(agents):
            _explain(text)
        self = str.__new__(cls, text)
        object.__setattr__(self, "agents", agents)
        return self

    @property
    def origin(self) -> str:
        """The agent that puts the job."""
        return self.agents[0]

    @property
    def last(self) -> str:
        """The agent that does the job."""
        return self.agents[-1]

    def after(self, agent: str) -> str | None:
        """The agent that follows `agent` on the path; None after the last, or when `agent` is not on it."""
        agents = self.agents
        if agent not in agents or agent == agents[-1]:
            return None
        return agents[agents.index(agent) + 1]

    def before(self, agent: str) -> str | None:
        """The agent that comes before `agent` on the path; None before the origin, or when it is not on it."""
        agents = self.agents
        if agent not in agents or agent == agents[0]:
            return None
        return agents[agents.index(agent) - 1]


class Destinations(Text):
    """A list of destinations, as an agent offers them: `[portal.cluster, portal.store]`.

    One destination is written without the brackets, none as `[]`; one that is named twice counts once.
    """

    __slots__ = ("destinations",)

    EXAMPLE: ClassVar[str] = "[portal.cluster, portal.store]"
    destinations: tuple[Destination, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads destinations with commas between them, with or without brackets; raises GrammarError."""
        check_size(text, "list of destinations")
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        if end > start and text[end - 1] == "]":
            end -= 1
            start += text[start : start + 1] == "["
        found: dict[Destination, None] = {}
        for item in text[start:end].split(",") if end > start else ():
            if item.strip():
                try:
                    found[Destination.parse(item.strip())] = None
                except GrammarError as error:
                    raise error.within(text, start + len(item) - len(item.lstrip())) from None
            start += len(item) + 1
        names = ", ".join(found)
        self = str.__new__(cls, names if len(found) == 1 else f"[{names}]")
        object.__setattr__(self, "destinations", tuple(found))
        return self


def _explain(text: str) -> None:
    """Raises the error for a text that is no path; called only for such."""
    if len(text) > _MAX_PATH:
        raise GrammarError("the path is too long", text=text, column=_MAX_PATH + 1, expected=_EXPECTED)
    agents = text.split(".")
    offset = 0
    for index, agent in enumerate(agents):
        if index == MAX_HOPS:
            message = f"the path has {len(agents)} agents, at most {MAX_HOPS} are taken"
            raise GrammarError(message, text=text, column=offset + 1, expected=_EXPECTED)
        try:
            parse_name(agent)
        except GrammarError as error:
            raise error.within(text, offset) from None
        if agent in agents[:index]:
            message = f'the path names "{agent}" twice'
            raise GrammarError(message, text=text, column=offset + 1, expected="each agent once")
        offset += len(agent) + 1
    message = "the path has a single agent, and a job goes from one agent to another"
    raise GrammarError(message, text=text, column=offset, expected=_EXPECTED)
