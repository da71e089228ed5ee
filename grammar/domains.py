"""Domain patterns: whose e-mail addresses may join a project.

example.com         this domain
*.example.com       any domain below it, at any depth
fred@example.com    this address
"""

from __future__ import annotations

import re
from typing import ClassVar, Self

from grammar.errors import GrammarError
from grammar.identifiers import Text
from grammar.values import check_size

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_LOCAL = re.compile(r"[A-Za-z0-9._%+-]+")
_EXPECTED = "example.com, *.example.com or fred@example.com"


class DomainPattern(Text):
    """A domain, every domain below one, or one e-mail address; case does not count when it is matched."""

    __slots__ = ()

    EXAMPLE: ClassVar[str] = "*.example.com"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a pattern; spaces are not taken off. Raises GrammarError."""
        check_size(text, "domain pattern")
        if not text:
            raise GrammarError("the pattern is empty", text=text, expected=_EXPECTED)
        if "@" in text:
            check_email(text)
        else:
            offset = 2 if text.startswith("*.") else 0
            _check_domain(text, offset)
        return str.__new__(cls, text)

    @property
    def is_email(self) -> bool:
        """Whether the pattern is one address."""
        return "@" in self

    def matches(self, domain: str) -> bool:
        """Whether a domain fits; an address pattern fits none."""
        pattern, domain = self.lower(), domain.lower()
        if pattern.startswith("*."):
            return domain.endswith(pattern[1:])
        return not self.is_email and pattern == domain

    def matches_email(self, address: str) -> bool:
        """Whether an address fits: it is the one named, or its domain fits."""
        if self.is_email:
            return self.lower() == address.lower()
        domain = address.partition("@")[2]
        return bool(domain) and self.matches(domain)


def check_email(text: str) -> str:
    """Returns an e-mail address unchanged; raises GrammarError with the column of the trouble."""
    local, at, _ = text.partition("@")
    if not at:
        raise GrammarError("the address has no @", text=text, column=len(text) + 1, expected="fred@example.com")
    match = _LOCAL.match(local)
    end = match.end() if match else 0
    if not local or end != len(local):
        message = "the address has a character that it may not have" if local else "the address has no name"
        raise GrammarError(message, text=text, column=end + 1, expected="letters, digits and . _ % + - before the @")
    _check_domain(text, len(local) + 1)
    return text


def _check_domain(text: str, offset: int) -> None:
    for label in text[offset:].split("."):
        if not _LABEL.fullmatch(label):
            message = f'"{label[:40]}" is no part of a domain' if label else "a part of the domain is empty"
            raise GrammarError(message, text=text, column=offset + 1, expected=_EXPECTED)
        offset += len(label) + 1
