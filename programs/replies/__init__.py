"""What language models write, read: one reader for plain, streamed and compiling programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import exported

if TYPE_CHECKING:
    from ragwright.programs.replies.adapter import ReplyAdapter
    from ragwright.programs.replies.calling import aasked, asked, reading
    from ragwright.programs.replies.reader import Unreadable, read

__all__ = ["ReplyAdapter", "Unreadable", "aasked", "asked", "read", "reading"]

_HOMES = {
    "ReplyAdapter": "adapter",
    "Unreadable": "reader",
    "aasked": "calling",
    "asked": "calling",
    "read": "reader",
    "reading": "calling",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
