"""Which ids this agent has ever stored: a filter that answers most questions without the disk.

De-duplication is complete (R7), so every Request that arrives asks "do I know this id?". Almost always the answer is
no, and a Bloom filter gives it from memory in a microsecond; a maybe is looked up in the store, and the board waits for
that. Memory is bounded by the ids that are kept: about 8 bytes for each, in layers that double, so that nothing is ever
rebuilt while it grows. A full layer is wrong about one new id in 400,000. (With half the bits it was one in 16,000, and
a busy link waited for the disk several times a second.)

The k positions of an id are cut out of its own hash part, which is uniformly distributed already.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

_FIRST_BITS: Final = 1 << 17
_BITS_PER_ID: Final = 64
_HASH_BYTES: Final = 20
_WORDS: Final = Struct(">5I")


class Known:
    """Ids that may be known. Ids are bytes whose last 20 are a hash."""

    __slots__ = ("_count", "_layers")

    def __init__(self, ids: Iterable[bytes] = ()) -> None:
        self._layers = [bytearray(_FIRST_BITS // 8)]
        self._count = 0
        for one in ids:
            self.add(one)

    def add(self, job_id: bytes) -> None:
        """Remember an id."""
        layer = self._layers[-1]
        if self._count * _BITS_PER_ID >= len(layer) * 8:
            layer = bytearray(len(layer) * 2)
            self._layers.append(layer)
            self._count = 0
        self._count += 1
        mask = len(layer) * 8 - 1
        for word in _WORDS.unpack(job_id[-_HASH_BYTES:].rjust(_HASH_BYTES)):
            bit = word & mask
            layer[bit >> 3] |= 1 << (bit & 7)

    def maybe(self, job_id: bytes) -> bool:
        """False when the id was certainly never added."""
        words = _WORDS.unpack(job_id[-_HASH_BYTES:].rjust(_HASH_BYTES))
        for layer in self._layers:
            mask = len(layer) * 8 - 1
            for word in words:
                bit = word & mask
                if not layer[bit >> 3] & (1 << (bit & 7)):
                    break
            else:
                return True
        return False
