"""Who may start a handshake: caps on half-open connections and a rate for each source.

Pure arithmetic on the caller's clock. A connection is *half-open* from the moment it is accepted until it is
authenticated or gone. Refusing is done before a byte is read, since an upgrade costs a hundred times more
than a refusal; loopback is a source like any other.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from mesh.limits import Limits


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What a listener takes from those it does not know yet. The defaults are those of `mesh.limits`."""

    half_open: int = 64
    half_open_per_source: int = 4
    handshakes_per_s: float = 5.0
    """Sustained rate for each source; a plain GET counts too."""
    handshakes_burst: int = 20
    handshake_s: float = 10.0
    """From the first byte of TCP to `authenticated()`."""
    sources: int = 4_096
    """Sources whose rate is remembered; beyond it the one seen longest ago gets a full burst again."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name} must be positive")

    @classmethod
    def of(cls, limits: Limits) -> ListenerLimits:
        """The part of an agent's limits that its listener enforces."""
        return cls(
            half_open=limits.half_open,
            half_open_per_source=limits.half_open_per_source,
            handshakes_per_s=limits.handshakes_per_s,
            handshakes_burst=limits.handshakes_burst,
            handshake_s=limits.handshake_s,
        )


class Refusal(enum.StrEnum):
    """Why a connection was refused before it said anything."""

    HALF_OPEN = "half_open"
    HALF_OPEN_PER_SOURCE = "half_open_per_source"
    RATE = "rate"


class Admission:
    """Counts half-open connections and handshakes.

    Invariants: `half_open` is the number of `admit` calls that returned None less the `leave` calls; no
    source has more than its cap of them; in any t seconds a source is admitted at most burst + rate * t
    times. Memory is bounded by `limits.sources`.
    """

    def __init__(self, limits: ListenerLimits) -> None:
        self._limits = limits
        self._interval_s = 1.0 / limits.handshakes_per_s
        # One float is a whole token bucket (the generic cell rate algorithm): the time at which the bucket
        # will be full again. Oldest use first, so the front is what to forget.
        self._full_at: dict[str, float] = {}
        self._open: dict[str, int] = {}
        self._half_open = 0
        self._refused = dict.fromkeys(Refusal, 0)

    @property
    def half_open(self) -> int:
        """Connections admitted and neither authenticated nor gone."""
        return self._half_open

    @property
    def refused(self) -> Mapping[Refusal, int]:
        """How many were refused so far, by reason."""
        return MappingProxyType(self._refused)

    def admit(self, source: str, now: float) -> Refusal | None:
        """Take one more connection from `source` (an IP address) at `now` (monotonic seconds), or say why
        not.

        A refused one costs its source nothing. Each admitted one is to be given back once with `leave`.
        """
        group = source_group(source)
        refusal = self._refusal(group, now)
        if refusal is not None:
            self._refused[refusal] += 1
            return refusal
        self._full_at[group] = max(self._full_at.pop(group, now), now) + self._interval_s
        if len(self._full_at) > self._limits.sources:
            del self._full_at[next(iter(self._full_at))]
        self._open[group] = self._open.get(group, 0) + 1
        self._half_open += 1
        return None

    def leave(self, source: str) -> None:
        """A connection of `source` is authenticated or gone."""
        group = source_group(source)
        left = self._open.pop(group) - 1
        if left:
            self._open[group] = left
        self._half_open -= 1

    def _refusal(self, group: str, now: float) -> Refusal | None:
        if self._half_open >= self._limits.half_open:
            return Refusal.HALF_OPEN
        if self._open.get(group, 0) >= self._limits.half_open_per_source:
            return Refusal.HALF_OPEN_PER_SOURCE
        # Half an interval of slack would be a token; a millionth only absorbs the rounding of repeated sums.
        room_s = (self._limits.handshakes_burst - 1 + 1e-6) * self._interval_s
        if self._full_at.get(group, now) - now > room_s:
            return Refusal.RATE
        return None


def source_group(source: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64, which is what one site is given at the
    least.
    """
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv4Address):
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))
