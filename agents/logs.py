"""What an agent logs, and how it looks: one line per event, as text for people or as JSON for collectors.

Loggers are those below `hopboard`. What is said beside the message (`extra=`) is shown too; nothing here ever knows a
secret, since no message or attribute of an error holds one.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from invitations.config import LogSection

_OWN: Final = frozenset(
    (
        *("args", "asctime", "created", "exc_info", "exc_text", "filename", "funcName", "levelname", "levelno"),
        *("lineno", "message", "module", "msecs", "msg", "name", "pathname", "process", "processName"),
        *("relativeCreated", "stack_info", "taskName", "thread", "threadName"),
    )
)
"""What every log record has (the table of LogRecord attributes in the standard library's documentation); anything
else was said beside the message."""


class TextFormatter(logging.Formatter):
    """`10:02:11 warning peers: no link to portal (fix=...)`; times are local."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        place = record.name.removeprefix("hopboard").lstrip(".")
        said = "".join(f" ({name}={value})" for name, value in _beside(record).items() if value)
        where = f" {place}:" if place else ""
        line = f"{when} {record.levelname.lower()}{where} {record.getMessage()}{said}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `trace`, what was said beside."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_beside(record),
        }
        if record.exc_info is not None:
            found["trace"] = self.formatException(record.exc_info)
        return json.dumps(found, default=str)


def _beside(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def log_to(stream: TextIO | None, settings: LogSection) -> None:
    """Log to `stream` (standard error if None) as `[log]` says. For programs only: a library leaves logging alone."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    ours = logging.getLogger("hopboard")
    ours.handlers[:] = [handler]
    ours.setLevel(settings.level.upper())
    ours.propagate = False
