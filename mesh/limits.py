"""Every default of the mesh in one place (PROTOCOL.md 14).

Each name carries its unit. `Limits` is given to whoever needs it; there is no global.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Final

from grammar.names import nearest
from mesh.errors import LimitError

FRAME_BYTES: Final = 65_519
"""Plaintext of one frame: a Noise message (65,535 bytes) less its 16-byte tag."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an agent accepts and how long it waits. Every field can be set under `[limits]` in `mesh.toml`."""

    preauth_bytes: int = 2_048
    request_bytes: int = 32_768
    result_bytes: int = 32_768
    instruction_bytes: int = 4_096
    path_hops: int = 16
    credit_jobs: int = 20_000
    """Unfinished jobs a peer accepts per board and branch, for each depth of children."""
    waiting_jobs: int = 100_000
    """Jobs that wait on disk per board and branch before a put is refused as `busy`."""
    window_records: int = 4_096
    window_bytes: int = 1_048_576
    blob_bytes: int = 4_194_304
    """One payload, or the JSON text of a result."""
    slice_bytes: int = 49_152
    blob_window_bytes: int = 786_432
    """Bytes of slices on a link that are not acknowledged."""
    blob_quota_bytes: int = 1_073_741_824
    """Bytes of payloads of one board and depth, and as many of results of one board, kept for unfinished jobs."""
    blob_arriving_bytes: int = 33_554_432
    """Bytes of blobs of one board that no fact names yet."""
    blob_orphan_s: float = 3_600.0
    """A blob that no fact names is dropped this long after its last slice (rule R14)."""
    life_s: float = 3_600.0
    life_max_s: float = 30 * 86_400.0
    run_s: float = 3_600.0
    future_s: float = 120.0
    skew_alarm_s: float = 30.0
    skew_refuse_s: float = 120.0
    handlers: int = 256
    handlers_per_peer: int = 256
    children_depth: int = 4
    ping_s: float = 10.0
    dead_s: float = 25.0
    redial_s: float = 0.5
    """Longest pause after the first failure to dial, doubled with each further one."""
    redial_max_s: float = 60.0
    report_after_s: float = 0.1
    """A job that is alive this long after its claim is reported upstream as claimed or running."""
    half_open: int = 64
    half_open_per_source: int = 4
    handshakes_per_s: float = 5.0
    handshakes_burst: int = 20
    handshake_s: float = 10.0
    resident_jobs: int = 8_192
    """Jobs kept in memory; the rest is on disk and fetched when something concerns it."""
    cards_per_peer: int = 1_024
    collect_s: float = 60.0
    """How often finished jobs past their horizon are looked for."""
    ballast_bytes: int = 33_554_432
    """The most that a store keeps in reserve on its disk, for what must be taken when the disk is full (rule R10)."""
    room_s: float = 5.0
    """How often room is looked for while there is none."""

    @property
    def overdue_s(self) -> float:
        """Seconds after its expiry from which a job that was offered and is silent counts as overdue (rule R6)."""
        return self.run_s + 180.0

    @property
    def horizon_s(self) -> float:
        """Seconds after a job's expiry during which its id must stay known (rule R7)."""
        return self.run_s + 3 * 60.0 + 3_600.0

    def with_settings(self, settings: Mapping[str, object]) -> Limits:
        """Return a copy with `settings` applied.

        Raises:
            LimitError: a name that is no limit (with the nearest one), or a value that is not a positive number.
        """
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in settings.items():
            if name not in known:
                close = nearest(name, known)
                raise LimitError(
                    f'[limits] has no key "{name}"', fix=f'did you mean "{close}"?' if close else "remove it"
                )
            whole = isinstance(known[name], int)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not isfinite(value)
                or value <= 0
                or (whole and value != int(value))
            ):
                kind = "whole number above 0" if whole else "number above 0"
                raise LimitError(f"[limits] {name} must be a {kind}", fix=f"the default is {known[name]}")
        changes = {name: type(known[name])(value) for name, value in settings.items()}
        return replace(self, **changes)
