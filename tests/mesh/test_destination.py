"""The destination: claim, start, report, end; what a crash means, and who may speak for what."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from invitations.fingerprint import fingerprint_text
from mesh.access import Rule
from mesh.destination import DONE_TOO_LARGE if False else Ending  # type: ignore[misc]
