"""Whom an agent believes, as rows for people: what `mesh trust` shows, whether the agent runs or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from invitations.fingerprint import fingerprint_text, fingerprint_words
from invitations.peers import PeerRow

Pin = tuple[str, str, bytes]
"""Zone, route of an agent or name of a portal, fingerprint."""


def trust_records(
    peers: Iterable[PeerRow], pins: Iterable[Pin], portals: Iterable[Pin], named: Mapping[str, bytes]
) -> list[dict[str, Any]]:
    """Every key that is pinned here, and why it is believed.

    Args:
        peers: the peer book.
        pins: agents further away, by their route from here.
        portals: who was first to speak for a portal here.
        named: who speaks for a portal by the configuration, which goes before who was first.
    """
    return [
        *_rows("peer", ((p.zone, p.name, p.fingerprint) for p in peers if p.state == "pinned"), "an invitation"),
        *_rows("agent", pins, "first sight, vouched for by the agents between"),
        *_rows("portal", ((None, portal, key) for portal, key in named.items()), "[access.portals]"),
        *_rows("portal", (pin for pin in portals if pin[1] not in named), "first use here"),
    ]


def _rows(what: str, rows: Iterable[tuple[str | None, str, bytes]], because: str) -> Iterator[dict[str, Any]]:
    for zone, name, fingerprint in rows:
        yield {
            "what": what,
            "name": name,
            "zone": zone,
            "fingerprint": fingerprint_text(fingerprint),
            "words": fingerprint_words(fingerprint),
            "because": because,
        }
