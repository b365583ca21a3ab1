"""Writes log records as JSON, one a line, with the request's id. Questions are never logged."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from ragwright.artifacts.server.context import current_request_id

FACTS = "facts"
"""`log.info("...", extra={FACTS: {...}})` adds these to the line."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line; control characters in what clients sent are escaped by JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if request_id := current_request_id():
            line["request_id"] = request_id
        line |= getattr(record, FACTS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Send everything the process logs to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "chromadb", "LiteLLM", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
