from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitations.addresses import address_allowed, parse_listen, parse_range, parse_url
from invitations.errors import AddressError


@pytest.mark.parametrize(
    "url", ["ws://h:7000", "wss://mesh.example.org/path?x=1", "ws://[::1]:7000", "ws://10.0.0.1", "ws://h:1/"]
)
def test_urls_that_can_be_dialled(url: str) -> None:
    assert parse_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:7000",
        "ws://",
        "ws://:7000",
        "ws://h:0",
        "ws://h:99999",
        "ws://h:x",
        "ftp://h",
        "ws://h#part",
        "ws://h:1 ",
        "ws://h\n",
        "ws://hé",
        "ws://[::1",
        "http://h:1",
        "https://h:1",
        "ws://" + "h" * 255,
    ],
)
def test_urls_that_cannot(url: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_url(url)
    assert caught.value.fix


def test_a_web_url_is_answered_with_the_websocket_one() -> None:
    with pytest.raises(AddressError) as caught:
        parse_url("https://mesh.example.org/x")
    assert caught.value.fix == "write wss://mesh.example.org/x"


def test_a_password_in_a_url_is_not_repeated() -> None:
    for url in ("ws://me:CANARY@h:1", "http://me:CANARY@h:1"):
        with pytest.raises(AddressError) as caught:
            parse_url(url)
        assert "CANARY" not in f"{caught.value} {caught.value.fix}"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("127.0.0.1:7000", ("127.0.0.1", 7000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_listening_addresses(text: str, pair: tuple[str, int]) -> None:
    assert parse_listen(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7000",
        ":7000",
        "h:",
        "h:x",
        "h:65536",
        "h:-1",
        "h:+1",
        "::1:7000",
        "[::1]",
        "[h]:1",
        "a b:1",
        "h:²",
        "ws://h:1",
        "me@h:1",
        "h:000001",
    ],
)
def test_no_listening_addresses(text: str) -> None:
    with pytest.raises(AddressError):
        parse_listen(text)


def test_ranges_have_one_spelling() -> None:
    assert parse_range("10.1.0.0/16") == "10.1.0.0/16"
    assert parse_range("10.1.2.3") == "10.1.2.3/32"
    assert parse_range("2001:DB8::/32") == "2001:db8::/32"
    assert parse_range("10.0.0.0/255.0.0.0") == "10.0.0.0/8"


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/33", "10.0.0/8", "300.0.0.1", "::/129"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(AddressError, match="not an address range"):
        parse_range(text)


def test_an_address_with_a_mask_is_asked_about() -> None:
    with pytest.raises(AddressError) as caught:
        parse_range("10.1.2.3/16")
    assert caught.value.fix == "write 10.1.0.0/16 for the whole range, or 10.1.2.3 for the one"


@pytest.mark.parametrize(
    ("source", "ranges", "allowed"),
    [
        ("anything", (), True),
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("11.1.2.3", ("10.0.0.0/8",), False),
        ("11.1.2.3", ("10.0.0.0/8", "11.0.0.0/8"), True),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",), True),
        ("2001:db8::5", ("2001:db8::/32",), True),
        ("2001:db9::5", ("2001:db8::/32",), False),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("10.1.2.3", ("::/0",), False),
        ("memory", ("0.0.0.0/0", "::/0"), False),
        ("", ("0.0.0.0/0",), False),
    ],
)
def test_sources(source: str, ranges: tuple[str, ...], allowed: bool) -> None:
    assert address_allowed(source, ranges) is allowed


@given(st.text(max_size=30))
def test_any_text_is_judged(text: str) -> None:
    for parse in (parse_url, parse_listen, parse_range):
        with suppress(AddressError):
            parse(text)
    address_allowed(text, ("10.0.0.0/8",))
