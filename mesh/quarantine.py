"""Rows that turned out damaged (rule R10): what is known of them until a neighbour gives its copy."""

from __future__ import annotations

from mesh.row import Row


class Quarantine:
    """The damaged rows that were met since the store was opened, by job."""

    def __init__(self) -> None:
        self._rows: dict[bytes, tuple[int, str | None]] = {}
        self._given_up: set[bytes] = set()

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._rows

    def put(self, row: Row) -> bool:
        """Note a damaged row; says whether it was not known before."""
        if row.id in self._rows:
            return False
        self._rows[row.id] = (row.seq, row.key)
        if row.never_left:
            self._given_up.add(row.id)
        return True

    def give_up(self, job_id: bytes) -> bool:
        """Note that nobody has a copy; says whether that is news about a row that is damaged."""
        if job_id not in self._rows or job_id in self._given_up:
            return False
        self._given_up.add(job_id)
        return True

    def take(self, job_id: bytes) -> tuple[int, str | None]:
        """Forget the damaged row of a job whose copy takes its place.

        Returns:
            Its number, which the copy is stored under, and its idempotency key, which only this agent knows; (0, None)
            if no row of the job is damaged.
        """
        self._given_up.discard(job_id)
        return self._rows.pop(job_id, (0, None))
