"""What every method of `agents.api` is made of: who asks, and how a method is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.records import Params
from agents.running import Running
from agents.uploads import Uploads


class Caller(Protocol):
    """Whoever asks: the agent that is asked, and a line to send news on."""

    @property
    def running(self) -> Running: ...

    @property
    def uploads(self) -> Uploads:
        """The payloads that were handed over and not put yet."""
        ...

    def follow(self, job_ids: Sequence[bytes], *, changes: bool) -> int:
        """Send views of these jobs from now on: at each change, or only the last one. Returns the subscription."""
        ...

    def unfollow(self, subscription: int) -> bool:
        """End a subscription; says whether there was one."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One method of an agent."""

    name: str
    params: type[Params]
    result: Any
    run: Callable[[Caller, Any], Awaitable[Any]]

    @property
    def help(self) -> str:
        """What it does, one paragraph."""
        return " ".join((self.run.__doc__ or "").split())
