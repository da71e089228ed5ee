"""Amounts: of time used, of storage, of a resource granted.

All are exact. A text is read without floating point and written in the largest unit that divides it, so that
an amount is the same after any number of hops. Each is equal to its canonical text and has the same hash; two
amounts of one type are ordered by size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import total_ordering
from types import MappingProxyType
from typing import ClassVar, Final, Self

from grammar.errors import GrammarError
from grammar.values import Value, check_size

MAX_AMOUNT: Final = 2**64 - 1
"""Largest number of seconds or bytes; what an unsigned 64-bit number holds."""

_MAX_DIGITS: Final = 40
_COUNT = re.compile(r"\+?[0-9]+")
_SIZE = re.compile(r"([0-9.\s]*)(.*)", re.DOTALL)
_DECIMAL = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_EXPONENT_LIMIT: Final = 308

_SECONDS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_SECONDS_OF: Final = MappingProxyType(
    {name: seconds for word, seconds in _SECONDS for name in (word, f"{word}s", word[0])}
)
_BYTES: Final = (("PB", 2**50), ("TB", 2**40), ("GB", 2**30), ("MB", 2**20), ("KB", 2**10), ("B", 1))
_BYTES_OF: Final = MappingProxyType(
    dict(_BYTES)
    | {
        f"{prefix}BYTES": size
        for prefix, (_, size) in zip(("PETA", "TERA", "GIGA", "MEGA", "KILO", ""), _BYTES, strict=True)
    }
)
_UNITS_OF: Final = MappingProxyType(
    {
        name: unit
        for word, unit in (
            ("node", "NHR"),
            ("gpu", "GPUHR"),
            ("cpu", "CPUHR"),
            ("core", "COREHR"),
            ("gb", "GBHR"),
            ("billing", "BHR"),
        )
        for name in (f"{word} hours", f"{word} hour", unit.lower())
    }
)


@total_ordering
class Quantity(Value):
    """A value that is one whole number of its unit; `amount` is that number."""

    __slots__ = ()

    @property
    def amount(self) -> int:
        """The number of seconds, bytes, ..."""
        raise NotImplementedError

    @classmethod
    def of(cls, amount: int) -> Self:
        """The quantity of so many of its unit; raises GrammarError outside 0 to 2**64 - 1."""
        raise NotImplementedError

    @classmethod
    def _validate(cls, value: object) -> Self:
        """Takes also a bare number, and `{"seconds": 60}`, as the reference system writes it in JSON."""
        if isinstance(value, dict) and len(value) == 1:
            (value,) = value.values()
        if isinstance(value, int) and not isinstance(value, bool):
            return cls.of(value)
        return super()._validate(value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, type(self)):
            return self.amount == other.amount
        if isinstance(other, str):
            return str(self) == other
        return NotImplemented

    def __lt__(self, other: object) -> bool:
        if isinstance(other, type(self)):
            return self.amount < other.amount
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, slots=True, eq=False)
class Usage(Quantity):
    """Time a resource was, or may be, used: `10 hours`; a bare number is seconds."""

    EXAMPLE: ClassVar[str] = "10 hours"

    seconds: int = 0

    def __post_init__(self) -> None:
        _check_amount(self.seconds, "seconds")

    @property
    def amount(self) -> int:
        """The seconds."""
        return self.seconds

    @classmethod
    def of(cls, amount: int) -> Self:
        """So many seconds."""
        return cls(amount)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a whole number and, after a space, s, m, h, d or the words for them; raises GrammarError."""
        check_size(text, "usage")
        words = text.split()
        expected = "a whole number and seconds, minutes, hours or days"
        if not words:
            raise GrammarError("the usage is empty", text=text, expected=expected)
        if not _COUNT.fullmatch(words[0]) or len(words[0]) > _MAX_DIGITS:
            column = text.index(words[0]) + 1
            raise GrammarError(f'"{words[0][:20]}" is not a whole number', text=text, column=column, expected=expected)
        if len(words) > 2:
            column = len(text) - len(text.split(maxsplit=2)[2]) + 1
            raise GrammarError("text follows the unit", text=text, column=column, expected=expected)
        unit = _SECONDS_OF.get(words[1].lower()) if len(words) == 2 and words[1].isascii() else 1
        if unit is None or (len(words) == 2 and not words[1].isascii()):
            column = text.rindex(words[1]) + 1
            raise GrammarError(f'"{words[1][:20]}" is no unit of time', text=text, column=column, expected=expected)
        try:
            return cls(int(words[0]) * unit)
        except GrammarError as error:
            raise error.within(text, 0) from None

    def __str__(self) -> str:
        fits = ((word, unit) for word, unit in _SECONDS if self.seconds >= unit and not self.seconds % unit)
        word, unit = next(fits, _SECONDS[-1])
        count = self.seconds // unit
        return f"{count} {word}" if count == 1 else f"{count} {word}s"

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.seconds + other.seconds)

    def __sub__(self, other: Usage) -> Usage:
        """The difference, never below zero: usage that is taken back cannot be owed."""
        return Usage(max(0, self.seconds - other.seconds))

    def __mul__(self, factor: float | Fraction) -> Usage:
        """Scaled by a factor of 0 or more, whole seconds, rounded down."""
        return Usage(int(self.seconds * Fraction(factor)))

    def __truediv__(self, divisor: float | Fraction) -> Usage:
        """Divided by a number above 0, whole seconds, rounded down; divided by 0 it is no usage."""
        return Usage(int(self.seconds / Fraction(divisor)) if divisor else 0)

    def hours(self) -> float:
        """The usage in hours, for display and accounts."""
        return self.seconds / 3_600


@dataclass(frozen=True, slots=True, eq=False)
class StorageSize(Quantity):
    """An amount of storage, in units of 1024: `1500GB`."""

    EXAMPLE: ClassVar[str] = "1500GB"

    bytes: int = 0

    def __post_init__(self) -> None:
        _check_amount(self.bytes, "bytes")

    @property
    def amount(self) -> int:
        """The bytes."""
        return self.bytes

    @classmethod
    def of(cls, amount: int) -> Self:
        """So many bytes."""
        return cls(amount)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a number, whole or decimal, and its unit, B to PB or the words for them; raises GrammarError."""
        check_size(text, "storage size")
        match = _SIZE.fullmatch(text.strip())
        assert match is not None, "both groups of the pattern may be empty"
        number, unit = "".join(match[1].split()), match[2]
        column = len(text) - len(text.lstrip()) + 1
        expected = "a number and B, KB, MB, GB, TB or PB, such as 1500GB"
        if not _DECIMAL.fullmatch(number) or len(number) > _MAX_DIGITS:
            raise GrammarError("a size starts with a number", text=text, column=column, expected=expected)
        factor = _BYTES_OF.get(unit.upper()) if unit.isascii() else None
        if factor is None:
            column += len(match[1])
            message = f'"{unit[:20]}" is no unit of storage' if unit else "the size has no unit"
            raise GrammarError(message, text=text, column=column, expected=expected)
        try:
            return cls(int(Fraction(number.rstrip(".")) * factor))
        except GrammarError as error:
            raise error.within(text, 0) from None

    def __str__(self) -> str:
        fits = ((unit, size) for unit, size in _BYTES if self.bytes >= size and not self.bytes % size)
        unit, size = next(fits, _BYTES[-1])
        return f"{self.bytes // size}{unit}"

    def __add__(self, other: StorageSize) -> StorageSize:
        return StorageSize(self.bytes + other.bytes)

    def __sub__(self, other: StorageSize) -> StorageSize:
        """The difference, never below zero."""
        return StorageSize(max(0, self.bytes - other.bytes))

    def __mul__(self, factor: int) -> StorageSize:
        return StorageSize(self.bytes * factor)

    def __floordiv__(self, divisor: int) -> StorageSize:
        """Divided by a whole number above 0, whole bytes, rounded down."""
        return StorageSize(self.bytes // divisor)


@dataclass(frozen=True, slots=True, eq=False)
class Allocation(Value):
    """How much of a resource is granted: `1000 NHR` (node hours), or `No allocation`.

    Known units are written in one way (`node hours` is NHR); others are kept, in lower case. Allocations are
    ordered only within one unit.
    """

    EXAMPLE: ClassVar[str] = "1000 NHR"

    amount: Decimal | None = None
    units: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a number and its units, or `none`; raises GrammarError."""
        check_size(text, "allocation")
        stripped = text.strip()
        if stripped.lower() in {"none", "no allocation"}:
            return cls()
        expected = "a number and its units, such as 1000 NHR, or none"
        words = stripped.split()
        if not words:
            raise GrammarError("the allocation is empty", text=text, expected=expected)
        number = words[0]
        amount = _decimal(number)
        if amount is None:
            raise GrammarError(f'"{number[:20]}" is not a number of 0 or more', text=text, expected=expected)
        if len(words) < 2:
            raise GrammarError("the allocation has no units", text=text, column=len(text) + 1, expected=expected)
        units = " ".join(words[1:]).lower()
        check_size(units, "unit of the allocation")  # lower case can be longer
        return cls(amount, _UNITS_OF.get(units, units))

    def __str__(self) -> str:
        if self.amount is None:
            return "No allocation"
        return f"{self.amount:f} {self.units}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Allocation, str)):
            return str(self) == str(other)
        return NotImplemented

    def __lt__(self, other: object) -> bool:
        if isinstance(other, Allocation) and self.units == other.units:
            return (self.amount or Decimal(0)) < (other.amount or Decimal(0))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


def _decimal(number: str) -> Decimal | None:
    """The exact number without exponent and trailing zeros; None when it is no finite number of 0 or more.

    `Decimal.normalize` would round to 28 digits, so the zeros are taken off the text.
    """
    if len(number) > _EXPONENT_LIMIT or not _FLOAT.fullmatch(number):
        return None
    value = Decimal(number)
    if not value:
        return Decimal(0)
    if value < 0 or abs(value.adjusted()) > _EXPONENT_LIMIT:
        return None
    plain = f"{value:f}"
    return Decimal(plain.rstrip("0").rstrip(".") if "." in plain else plain)


def _check_amount(amount: int, unit: str) -> None:
    if not 0 <= amount <= MAX_AMOUNT:
        raise GrammarError(f"{unit} go from 0 to {MAX_AMOUNT}", expected=f"at most {MAX_AMOUNT} {unit}")
