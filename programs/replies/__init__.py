"""What language models write, read: one reader for plain, streamed and compiling programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import lazy_exports

if TYPE_CHECKING:
    from ragwright.programs.replies.adapter import ReplyAdapter
    from ragwright.programs.replies.calling import acall_predictor, call_predictor, reading
    from ragwright.programs.replies.reader import UnreadableReply, read_reply

__all__ = [
    "ReplyAdapter",
    "UnreadableReply",
    "acall_predictor",
    "call_predictor",
    "read_reply",
    "reading",
]

_HOMES = {
    "ReplyAdapter": "adapter",
    "UnreadableReply": "reader",
    "acall_predictor": "calling",
    "call_predictor": "calling",
    "read_reply": "reader",
    "reading": "calling",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
