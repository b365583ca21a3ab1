"""Extends packed passages by the texts of their neighbours in an index.

How many neighbours each gets is decided in `neighbours.py`; here they are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from ragwright.programs.neighbours import (
    ChunkFacts,
    Extend,
    Surroundings,
    choose_neighbours,
    hash_text,
)
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.narrowing import combine_with_block_filter
from ragwright.retrievers.types import TABLE_HEADER, Passage

_GAP = "\n"


def surrounding_chunks(index: Index, ids: Sequence[str], *, reach: int) -> Surroundings:
    """Look up to `reach` chunks far to both sides of each of these.

    A side ends where a chunk does not pass the filter of the block (see `narrowing.py`): one
    document may have pages that a caller sees, and others.
    """
    found = index.around(ids, reach)
    beside = (id for before, after in found.values() for id in (*before, *after))
    every = list(dict.fromkeys([*ids, *beside]))
    if where := combine_with_block_filter(None):
        passed = index.passing(every, where)
        every = [id for id in every if id in passed]
    tokens = index.tokens(every)
    pieces = {
        passage.id: ChunkFacts(tokens[passage.id], hash_text(passage))
        for passage in index.passages(every)
        if passage.id in tokens
    }
    # The index may change between these reads: a side ends where nothing is known of a chunk.
    sides = {
        id: (_known(before, pieces), _known(after, pieces)) for id, (before, after) in found.items()
    }
    return Surroundings(sides, pieces)


def _known(side: Sequence[str], pieces: Mapping[str, ChunkFacts]) -> tuple[str, ...]:
    return tuple(takewhile(pieces.__contains__, side))


def neighbour_extension(retriever: Any, reach: int) -> Extend | None:
    """Return what extends packed passages by their neighbours; None for a reach of 0.

    Raises:
        InputError: The retriever reads no index, so that nothing is known of neighbours.
    """
    if not reach:
        return None
    path = getattr(retriever, "path", None)
    if path is None:
        raise InputError(
            f"neighbours = {reach}, but {type(retriever).__name__} reads no index.",
            hint="Set the knob neighbours to 0, or retrieve from an index.",
        )
    return lambda packed, left: _extended(open_index(path), packed, left=left, reach=reach)


def _extended(index: Index, packed: Sequence[Passage], *, left: int, reach: int) -> list[Passage]:
    ids = [passage.id for passage in packed]
    taken = choose_neighbours(
        ids, surrounding_chunks(index, ids, reach=reach), left=left, reach=reach
    )
    wanted = [id for before, after in taken for id in (*before, *after)]
    found = {passage.id: passage for passage in index.passages(wanted)}
    return [
        _joined(passage, *([found[id] for id in side if id in found] for side in sides))
        for passage, sides in zip(packed, taken, strict=True)
    ]


def _joined(passage: Passage, before: Sequence[Passage], after: Sequence[Passage]) -> Passage:
    """The passage with its neighbours' texts; it keeps its id, score and signals."""
    if not before and not after:
        return passage
    pieces = [*reversed(before), passage, *after]
    text, end = "", int(pieces[0].metadata["start"])
    for piece in pieces:
        start = int(piece.metadata["start"])
        text += (_GAP if start > end else "") + piece[max(0, end - start) :]
        end = max(end, int(piece.metadata["end"]))
    facts = {
        **{key: value for key, value in passage.metadata.items() if key != TABLE_HEADER},
        **{key: pieces[0].metadata[key] for key in (TABLE_HEADER,) if key in pieces[0].metadata},
        "start": pieces[0].metadata["start"],
        "end": end,
        "tokens": sum(int(piece.metadata["tokens"]) for piece in pieces),
    }
    return Passage(
        text, id=passage.id, score=passage.score, metadata=facts, signals=passage.signals
    )
