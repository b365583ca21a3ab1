"""Writes log records as JSON, one a line, with the request's id. Questions are never logged.

Lines that nobody reads are left out: a full pipe would hold who writes, and with it every answer.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from datetime import UTC, datetime

from ragwright.artifacts.server.context import current_request_id

FACTS = "facts"
"""`log.info("...", extra={FACTS: {...}})` adds these to the line."""

STDERR = 2
ATOMIC = 512
"""Bytes that a pipe with any room takes at once, on every system."""
PATIENCE = 0.1
"""Seconds that a line waits for room, the first time there is none."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line; control characters in what clients sent are escaped by JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _message_of(record),
        }
        if request_id := current_request_id():
            line["request_id"] = request_id
        line |= getattr(record, FACTS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


_MALFORMED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a text with the wrong values raises, or a value that cannot be written."""


def _message_of(record: logging.LogRecord) -> str:
    """Return what is logged; where a library logs what cannot be written, no answer fails for it.

    As with Python's own handlers, which print what is wrong and go on.
    """
    try:
        return record.getMessage()
    except _MALFORMED as error:
        said = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{said} (its values cannot be written: {type(error).__name__})"


class UnheldHandler(logging.Handler):
    """Writes lines to a file, terminal or pipe, and never waits for who reads them.

    Args:
        to: The number of the open file.

    Attributes:
        left_out: How many lines had no room; said with the next one that has.
    """

    def __init__(self, to: int) -> None:
        super().__init__()
        self.left_out = 0
        self._to = to
        self._broken = False
        self._poll = select.poll()
        self._poll.register(to, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        if self.left_out and self._written(_told(self.left_out)):
            self.left_out = 0
        if self.left_out or not self._written(record):
            self.left_out += 1

    def _written(self, record: logging.LogRecord) -> bool:
        line = f"{self.format(record)}\n".encode()
        rest = memoryview(b"\n" + line if self._broken else line)
        whole = len(rest)
        try:
            while rest and self._poll.poll(0 if self.left_out else 1000 * PATIENCE):
                rest = rest[os.write(self._to, rest[:ATOMIC]) :]
        except OSError:  # who read it is gone, or a disk is full: nobody is left to be told
            pass
        self._broken = self._broken if len(rest) == whole else bool(rest)
        return not rest


def _told(left_out: int) -> logging.LogRecord:
    told = f"{left_out} lines of log were left out: they were not read, or had no room"
    facts = {"name": "ragwright.server", "levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord({**facts, "msg": told})


def configure_logging(level: str) -> None:
    """Send everything the process logs to stderr as JSON lines."""
    handler = (
        UnheldHandler(STDERR) if hasattr(select, "poll") else logging.StreamHandler(sys.stderr)
    )
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "chromadb", "LiteLLM", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
