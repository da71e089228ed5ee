"""Storage quotas: a volume, how much may be stored on it, and how much is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from grammar.errors import GrammarError
from grammar.identifiers import Text
from grammar.quantities import MAX_AMOUNT, Quantity, StorageSize
from grammar.values import Value, check_size, fault, normalise


class Volume(Text):
    """The name of a storage volume, such as home or scratch: no space in it."""

    __slots__ = ()

    EXAMPLE: ClassVar[str] = "scratch"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `scratch`; raises GrammarError."""
        name = normalise(text, "volume")
        if not name:
            raise GrammarError("the volume is empty", text=text, expected=f"a name such as {cls.EXAMPLE}")
        if " " in name:
            raise fault("the volume has a space in it", text, name.index(" ") + 1, "a name")
        return str.__new__(cls, name)


@dataclass(frozen=True, slots=True, eq=False)
class QuotaLimit(Quantity):
    """How much may be stored: a size, or `unlimited`, which is more than any size."""

    EXAMPLE: ClassVar[str] = "1500GB"

    size: StorageSize | None = None

    @property
    def amount(self) -> int:
        """The bytes; one more than any size can be when there is no limit."""
        return MAX_AMOUNT + 1 if self.size is None else self.size.bytes

    @classmethod
    def of(cls, amount: int) -> Self:
        """A limit of so many bytes."""
        return cls(StorageSize(amount))

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit."""
        return self.size is None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a size, spaces anywhere in it, or `unlimited`; raises GrammarError."""
        check_size(text, "quota limit")
        if text.strip().lower() == "unlimited":
            return cls()
        return cls(_size(text, "a size such as 1500GB, or unlimited"))

    def __str__(self) -> str:
        return "unlimited" if self.size is None else str(self.size)


@dataclass(frozen=True, slots=True, eq=False)
class Quota(Value):
    """A limit and, where it is known, how much is used: `100GB used 50GB`."""

    EXAMPLE: ClassVar[str] = "100GB used 50GB"

    limit: QuotaLimit = QuotaLimit()
    used: StorageSize | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `limit`, or `limit used size`; raises GrammarError."""
        check_size(text, "quota")
        words = text.split()
        lowered = [word.lower() for word in words]
        if "used" not in lowered:
            return cls(QuotaLimit.parse(text))
        middle = lowered.index("used")
        limit, used = " ".join(words[:middle]), " ".join(words[middle + 1 :])
        try:
            return cls(QuotaLimit.parse(limit), _size(used, "a size such as 50GB"))
        except GrammarError as error:
            raise GrammarError(error.message, text=text, expected="limit used size, such as 100GB used 50GB") from None

    @classmethod
    def _validate(cls, value: object) -> Self:
        """Takes also the JSON object that the reference system writes."""
        if isinstance(value, dict) and set(value) <= {"limit", "usage"} and "limit" in value:
            used = value.get("usage")
            return cls(QuotaLimit._validate(value["limit"]), None if used is None else StorageSize._validate(used))
        return super(Quota, cls)._validate(value)  # a dataclass with slots has no super()

    @property
    def exceeded(self) -> bool:
        """Whether more is used than may be; False when that is not known."""
        return self.used is not None and self.used.bytes > self.limit.amount

    @property
    def percentage(self) -> float | None:
        """How much of the limit is used, in per cent; None when that is not known, or without a limit."""
        if self.used is None or self.limit.size is None or not self.limit.size.bytes:
            return None
        return self.used.bytes / self.limit.size.bytes * 100

    def __str__(self) -> str:
        return str(self.limit) if self.used is None else f"{self.limit} used {self.used}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Quota, str)):
            return str(self) == str(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


def _size(text: str, expected: str) -> StorageSize:
    """The size in a text where spaces mean nothing."""
    try:
        return StorageSize.parse("".join(text.split()))
    except GrammarError as error:
        raise GrammarError(error.message, text=text, expected=expected) from None
