"""Decides how far each packed passage is extended by the chunks around it in its document.

Passages are packed first, so that a neighbour never takes the place of what was retrieved; what is
left of the context's tokens goes to neighbours, those of the best passage first. The live program
and the replay of a pool ask the same `choose_neighbours`. Pure functions; knows neither
scores nor an index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from ragwright.retrievers.returned import Sides
from ragwright.retrievers.types import Passage

Extend = Callable[[Sequence[Passage], int], list[Passage]]
"""Packed passages, best first, and the tokens that are left in; the passages, extended, out."""

_NUMBER_BYTES = 7
"""Of a text's number, so that it fits a signed integer of 8."""
JOINT_TOKENS = 1
"""What putting two chunks together costs at most: the last token of one may be cut otherwise."""


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """What `choose_neighbours` has to know of a chunk.

    Attributes:
        tokens: Its length.
        text: A number, the same for the same text.
    """

    tokens: int
    text: int


@dataclass(frozen=True)
class Surroundings:
    """What stands around chunks in their documents.

    Attributes:
        sides: By the id of a chunk that may be extended.
        pieces: Those chunks and all that stand at their sides, by id.
    """

    sides: Mapping[str, Sides] = field(default_factory=dict)
    pieces: Mapping[str, ChunkFacts] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Iterable[Surroundings]) -> Self:
        """Put what is known of one index together; the questions of a stored pool share one."""
        sides: dict[str, Sides] = {}
        pieces: dict[str, ChunkFacts] = {}
        for part in {id(part): part for part in parts}.values():
            sides |= part.sides
            pieces |= part.pieces
        return cls(sides, pieces)


def hash_text(text: str) -> int:
    """Return a number that is the same for the same text."""
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=_NUMBER_BYTES).digest())


def choose_neighbours(
    packed: Sequence[str], around: Surroundings, *, left: int, reach: int
) -> list[Sides]:
    """Say which neighbours each packed passage gets: the nearest that fit, without a gap.

    To one side it ends at `reach` chunks, at the document's end, at a chunk that does not fit, or
    at one whose text is in the context already.

    Args:
        packed: Ids, best first.
        around: What stands around them.
        left: Tokens that are left.
        reach: How many chunks far.
    """
    pieces = around.pieces
    texts = {pieces[id].text for id in packed if id in pieces}
    taken: list[Sides] = []
    for id in packed:
        sides: list[tuple[str, ...]] = []
        for side in around.sides.get(id, ((), ())):
            count = 0
            for key in side[:reach]:
                cost = pieces[key].tokens + JOINT_TOKENS if key in pieces else left + 1
                if cost > left or pieces[key].text in texts:
                    break
                texts.add(pieces[key].text)
                left -= cost
                count += 1
            sides.append(side[:count])
        taken.append((sides[0], sides[1]))
    return taken
