"""What language models write, read: one reader for plain, streamed and compiling programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import exported

if TYPE_CHECKING:
    from ragwright.programs.replies.adapter import ReplyAdapter
    from ragwright.programs.replies.calling import aasked, asked, reading
    from ragwright.programs.replies.reader import UnreadableReply, read

__all__ = ["ReplyAdapter", "UnreadableReply", "aasked", "asked", "read", "reading"]

_HOMES = {
    "ReplyAdapter": "adapter",
    "UnreadableReply": "reader",
    "aasked": "calling",
    "asked": "calling",
    "read": "reader",
    "reading": "calling",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
