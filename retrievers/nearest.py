"""Finds the chunks nearest to a vector: by the store's graph, or by comparing exactly.

The keyword index says which chunks pass a filter. Where these are few, or the whole index is small,
the index's own vectors are compared with the question's, all of them: that is exact, and faster
than a store that first works out a filter. Where many pass, the store is asked for more, without
the filter, and what does not pass is dropped; if too few are left, all that pass are compared.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.own_vectors import Keys, OwnVectors
from ragwright.retrievers.stores.base import VectorStore

MOST_NUMBERS = 4_000_000
"""So many numbers are compared in a time that a graph takes too: 10,416 vectors of 384."""
_FILTERS = 64
_SPARE = 1.5
_DEEPEST = 2_000


@dataclass(frozen=True, slots=True)
class FilterMatches:
    """What passes a filter: how many, and which if these are few."""

    count: int
    keys: Keys | None


class Nearest:
    """Searches the vectors of an embedded index.

    Args:
        store: What holds them in a graph.
        keyword: What knows the metadata.
        own: The vectors once more; not read before they are needed.
        count: How many chunks the index has.
    """

    def __init__(
        self, store: VectorStore, keyword: KeywordIndex, own: OwnVectors, *, count: int
    ) -> None:
        self._store = store
        self._keyword = keyword
        self._own = own
        self._count = count
        self._most = MOST_NUMBERS // max(1, own.dimension)
        self._passing: OrderedDict[str, FilterMatches] = OrderedDict()

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        """Return up to n ids with their cosine to `vector` (shape (d,)), best first.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The vector store fails.
        """
        if where is None:
            return self._among_all(vector, n)
        if not self._whole:
            return self._store.query(vector, n, where)
        passing = self._that_pass(where)
        found = self._own.now.nearest(vector, n, passing.keys) if passing.keys is not None else None
        if found is None:
            found = self._many(vector, n, where, passing.count)
        return self._store.query(vector, n, where) if found is None else found

    def _among_all(self, vector: Floats, n: int) -> dict[str, float]:
        few = self._count <= self._most and self._whole
        exact = self._own.now.nearest(vector, n) if few else None
        if exact is not None:
            return exact
        found = self._store.query(vector, n)
        if len(found) < min(n, self._count) and self._whole:
            # A graph of many equal vectors falls apart, and only one part of it is found.
            found = self._own.now.nearest(vector, n) or found
        return found

    @property
    def _whole(self) -> bool:
        """Whether every vector is there: not while another process writes them."""
        return len(self._own) == self._count

    def _many(self, vector: Floats, n: int, where: Filter, count: int) -> dict[str, float] | None:
        asked = int(_SPARE * n * self._count / max(1, count)) + 1
        if asked <= _DEEPEST:
            found = self._store.query(vector, asked)
            passed = self._keyword.passing(list(found), where)
            kept = [id for id in found if id in passed][:n]
            if len(kept) == n:
                return {id: found[id] for id in kept}
        return self._own.now.nearest(vector, n, self._keyword.keys(where, count))

    def _that_pass(self, where: Filter) -> FilterMatches:
        # Not the filter itself: True, 1 and 1.0 are equal in Python.
        name = repr(where)
        known = self._passing.get(name)
        if known is None:
            count = self._keyword.count_passing(where)
            keys = self._keyword.keys(where, count) if count <= self._most else None
            known = self._passing[name] = FilterMatches(count, keys)
            while len(self._passing) > _FILTERS:
                self._passing.popitem(last=False)
        return known
