"""Sources that were learned from questions whose documents are known: one file for each.

A part declares its signal, what may be tried of it, how it is learned and what is stored of it; a
compile, an artifact and `rag show` read everything from there. `PARTS` lists them by their names.
"""

from __future__ import annotations

from ragwright.programs.learned.adapter import QueryAdapter
from ragwright.programs.learned.base import Held, Known, LearnedPart, LearnedSource, Place
from ragwright.programs.learned.questions import KnownQuestions

PARTS: dict[str, type[LearnedPart]] = {
    part.signal.name: part for part in (KnownQuestions, QueryAdapter)
}

__all__ = [
    "PARTS",
    "Held",
    "Known",
    "KnownQuestions",
    "LearnedPart",
    "LearnedSource",
    "Place",
    "QueryAdapter",
]
