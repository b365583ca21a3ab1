"""Sources and rankers that were learned from questions whose documents are known: a file for each.

A part declares its signal, what may be tried of it, how it is learned and what is stored of it; a
compile, an artifact and `rag show` read everything from there. `PARTS` lists them by
their names, `SOURCES` those that find passages.
"""

from __future__ import annotations

from ragwright.programs.learned.adapter import QueryAdapter
from ragwright.programs.learned.base import (
    ChunkPlace,
    LabelledQuestion,
    LearnedPart,
    LearnedRanker,
    LearnedSource,
    SourcePart,
    StoredPart,
)
from ragwright.programs.learned.questions import KnownQuestions
from ragwright.programs.learned.ranker import Ranker

SOURCES: dict[str, type[SourcePart]] = {
    part.signal.name: part for part in (KnownQuestions, QueryAdapter)
}
PARTS: dict[str, type[LearnedPart]] = {**SOURCES, Ranker.signal.name: Ranker}

__all__ = [
    "PARTS",
    "SOURCES",
    "ChunkPlace",
    "KnownQuestions",
    "LabelledQuestion",
    "LearnedPart",
    "LearnedRanker",
    "LearnedSource",
    "QueryAdapter",
    "Ranker",
    "SourcePart",
    "StoredPart",
]
