"""Addresses as people write them: the URLs a peer is dialled at, the ranges it may come from, where an
agent listens.

Checked when they are written down, so that a slip is found by the person who made it and not by a dialler
at night.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from invitations.errors import AddressError

MAX_URL: Final = 255
MAX_PORT: Final = 65_535
_FAMILIAR: Final = frozenset({"http", "https"})


def parse_url(text: str) -> str:
    """A `ws://` or `wss://` URL that a peer can be dialled at; returned unchanged.

    Raises:
        AddressError: another scheme, no host, a bad port, a user name or password, a fragment, a character
            that is not printable ASCII, or more than 255 characters.
    """
    if len(text) > MAX_URL:
        raise AddressError(f"the URL is longer than {MAX_URL} characters", fix="use a shorter one")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AddressError("the URL has a character that is not plain ASCII", fix="write it as ws://HOST:PORT")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise AddressError(f'"{text}" is not a URL', fix="write it as ws://HOST:PORT") from None
    # Before anything is shown: a password in a URL must not end in a log.
    if parts.username is not None or parts.password is not None:
        raise AddressError("the URL holds a user name or password", fix="leave them out: links have their own keys")
    if parts.scheme in _FAMILIAR:
        other = "wss" if parts.scheme == "https" else "ws"
        raise AddressError(f'"{text}" is not a websocket URL', fix=f"write {other}:{text.partition(':')[2]}")
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise AddressError(f'"{text}" is not a websocket URL', fix="write it as ws://HOST:PORT")
    if port == 0 or parts.fragment:
        raise AddressError(f'"{text}" cannot be dialled', fix="write it as ws://HOST:PORT")
    return text


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, an IPv6 host in brackets; port 0 means any free one.

    Raises:
        AddressError: no host, no port, or a port out of range.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    plain = host.isascii() and host.isprintable() and not set(host) & set(" /[]@")
    if not colon or not host or not plain or bracketed != (":" in host):
        raise AddressError(f'"{text}" is not HOST:PORT', fix="write it as 127.0.0.1:7000 or [::1]:7000")
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > MAX_PORT:
        raise AddressError(f'"{text}" has no port from 0 to {MAX_PORT}', fix="write it as 127.0.0.1:7000 or [::1]:7000")
    return host, int(port)


def parse_range(text: str) -> str:
    """An address or CIDR range, IPv4 or IPv6, in its one standard spelling (`10.0.0.1` as `10.0.0.1/32`).

    Raises:
        AddressError: not a range, or an address with bits below the mask (it is not clear which of the two
            is meant).
    """
    try:
        return str(ip_network(text, strict=True))
    except ValueError:
        pass
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise AddressError(
            f'"{text}" is not an address range', fix="write it as 10.1.0.0/16 or 2001:db8::/32"
        ) from None
    address = text.partition("/")[0]
    raise AddressError(
        f'"{text}" is an address inside a range',
        fix=f"write {loose} for the whole range, or {address} for the one",
    )


def address_allowed(source: str, ranges: Iterable[str]) -> bool:
    """Whether the address `source` lies in one of `ranges`; no ranges allow any source.

    A source that is no IP address (a transport within one process) lies in no range. IPv4 seen through an
    IPv6 socket (`::ffff:10.0.0.1`) counts as IPv4, and the interface of a link-local address
    (`fe80::1%eth0`) is ignored.
    """
    networks = [ip_network(text) for text in ranges]
    if not networks:
        return True
    try:
        address: IPv4Address | IPv6Address = ip_address(source.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
