"""How a bug is planted: a function of the code is replaced for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch


def planted(target: Any, name: str, bad: Any) -> Iterator[None]:
    """Replace `name` of `target` by `bad` until the generator goes on; for `yield from` in a context manager."""
    with patch.object(target, name, bad):
        yield
