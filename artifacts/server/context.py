"""What belongs to the one request that is being served: its id, wherever it is asked for."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

_REQUEST_ID: ContextVar[str] = ContextVar("ragwright_request_id", default="")
_ACCEPTED = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def current_request_id() -> str:
    """Return the id of the request being served; empty outside of one."""
    return _REQUEST_ID.get()


def set_request_id(proposed: str) -> str:
    """Begin a request: take the id that the client proposes if it is harmless, or make one."""
    chosen = proposed if _ACCEPTED.fullmatch(proposed) else uuid.uuid4().hex
    _REQUEST_ID.set(chosen)
    return chosen
