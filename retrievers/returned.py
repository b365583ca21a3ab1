"""Returns for found chunks the chunks themselves, or their parents.

Where chunks have parents, the vector store, the keyword index and the token vectors hold chunks
alone. A parent lies in the ledger, with its text; it scores what its best chunk does, and its
vector is the mean of its chunks'. No two parents overlap, so a chunk's offsets tell which is its
own. Knows the ledger, not how anything is searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from ragwright.retrievers.chunking import ChunkSettings, count_tokens
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.ledger import AMONG, Ledger, Length, Record, record_from_row
from ragwright.retrievers.stores.base import StoreRow
from ragwright.retrievers.types import Chunk, hash_parts

Sides = tuple[tuple[str, ...], tuple[str, ...]]
"""Ids before and after one in its document, nearest first."""

MOST_CHUNKS = 10_000
"""The most that are looked for in one search: Pinecone and Weaviate give no more."""

_COLUMNS = "id, document, start, end, text, metadata, tokens, 0, 0, 0"


class ReturnedChunks:
    """What an index returns if its chunks have no parents: the chunks.

    Args:
        ledger: The ledger of the index.

    Attributes:
        spare: How many chunks to look for at first, for each that is wanted.
    """

    spare = 1

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def best(self, hits: Mapping[str, float], n: int, *, asked: int) -> dict[str, float] | int:
        """Return the best n of what is returned for found chunks, or how many chunks it takes.

        Args:
            hits: The ids of chunks with their scores, best first.
            n: How many are wanted.
            asked: How many chunks were looked for; there are no more if fewer were found.

        Returns:
            Up to n ids with their scores, best first; a number if so many chunks have to be
            looked for instead.
        """
        return dict(islice(hits.items(), n))

    def chunks_of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of the chunks that stand for each of these in a search."""
        return {id: [id] for id in ids}

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return those of these ids that the index holds."""
        return self._ledger.records(ids)

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the token counts of those of these ids that the index holds."""
        return self._ledger.tokens(ids)

    def lengths(self, ids: Sequence[str]) -> dict[str, Length]:
        """Return how long those of these ids are that the index holds."""
        return self._ledger.lengths(ids)

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the texts of those of these ids that the index holds."""
        return self._ledger.texts(ids)

    def all_records(self) -> Iterator[Record]:
        """Yield everything that can be returned, in the order of documents and offsets."""
        return self._ledger.all_records()

    def of_document(self, document: str) -> list[str]:
        """Return the ids of a document, in the order of offsets."""
        return self._ledger.chunk_ids(document)

    def around(self, ids: Sequence[str], reach: int) -> dict[str, Sides]:
        """Return the ids up to `reach` before and after each that the index holds."""
        documents = {id: held.chunk.document_id for id, held in self.records(ids).items()}
        orders = {name: self.of_document(name) for name in set(documents.values())}
        places = {id: place for order in orders.values() for place, id in enumerate(order)}
        sides = {}
        for id in documents.keys() & places.keys():
            order, place = orders[documents[id]], places[id]
            before = order[max(0, place - reach) : place][::-1]
            sides[id] = (tuple(before), tuple(order[place + 1 : place + 1 + reach]))
        return sides

    def content_hash(self) -> str:
        """Return a hash of the ids of everything the index holds."""
        return self._ledger.content_hash()

    @property
    def parent_count(self) -> int:
        """How many parents there are."""
        return 0

    def put(self, document: str, parents: Sequence[Chunk]) -> None:
        """Note a document's parents, in place of those before; in the caller's transaction."""


class ReturnedParents(ReturnedChunks):
    """What an index returns if its chunks have parents.

    Args:
        ledger: The ledger of the index.
        encoding: What counts tokens.
    """

    spare = 4

    def __init__(self, ledger: Ledger, encoding: str) -> None:
        super().__init__(ledger)
        self._encoding = encoding

    def best(self, hits: Mapping[str, float], n: int, *, asked: int) -> dict[str, float] | int:
        parents = self._parents_of(list(hits))
        scores: dict[str, float] = {}
        for id, score in hits.items():
            if id in parents:
                scores.setdefault(parents[id], score)
        best = dict(islice(scores.items(), n))
        if len(best) == n or len(hits) < asked or asked >= MOST_CHUNKS:
            return best
        count = self.parent_count
        if count > n:
            return min(2 * asked, MOST_CHUNKS)
        # All are wanted, and the best chunk of one may be the worst of all chunks.
        return best if len(best) == count else MOST_CHUNKS

    def chunks_of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        query = (
            "SELECT parents.id, chunks.id FROM parents JOIN chunks "
            "ON chunks.document = parents.document AND chunks.start >= parents.start "
            "AND chunks.start < parents.end AND chunks.state = 'live' "
            "WHERE parents.id IN (SELECT value FROM json_each(?)) ORDER BY chunks.start"
        )
        found: dict[str, list[str]] = {}
        for parent, chunk in self._ledger.rows(query, (json.dumps(list(ids)),)):
            found.setdefault(parent, []).append(chunk)
        return found

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        query = f"SELECT {_COLUMNS} FROM parents WHERE id IN (SELECT value FROM json_each(?))"
        return {
            row[0]: record_from_row(row)
            for row in self._ledger.rows(query, (json.dumps(list(ids)),))
        }

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        query = "SELECT id, tokens FROM parents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._ledger.rows(query, (json.dumps(list(ids)),)))

    def lengths(self, ids: Sequence[str]) -> dict[str, Length]:
        query = (
            "SELECT id, tokens, end - start FROM parents "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {row[0]: row[1:] for row in self._ledger.rows(query, (json.dumps(list(ids)),))}

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        query = "SELECT id, text FROM parents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._ledger.rows(query, (json.dumps(list(ids)),)))

    def all_records(self) -> Iterator[Record]:
        query = (
            f"SELECT {_COLUMNS} FROM parents WHERE (document, start) > (?, ?) "
            "ORDER BY document, start LIMIT ?"
        )
        return (record_from_row(row) for row in self._ledger.paged(query, ("", -1), key=(1, 2)))

    def of_document(self, document: str) -> list[str]:
        query = "SELECT id FROM parents WHERE document = ? ORDER BY start"
        return [id for (id,) in self._ledger.rows(query, (document,))]

    def content_hash(self) -> str:
        """Return a hash of the ids of all chunks and of all parents: either may change alone."""
        query = "SELECT id FROM parents WHERE id > ? ORDER BY id LIMIT ?"
        ids = (id for (id,) in self._ledger.paged(query, ("",), key=slice(0, 1)))
        return hash_parts([self._ledger.content_hash(), hash_parts(ids)])

    @property
    def parent_count(self) -> int:
        return int(self._ledger.rows("SELECT count(*) FROM parents")[0][0])

    def put(self, document: str, parents: Sequence[Chunk]) -> None:
        self._ledger.run("DELETE FROM parents WHERE document = ?", (document,))
        for parent in parents:
            tokens = count_tokens(parent.shown, self._encoding)
            metadata = json.dumps(dict(parent.metadata))
            self._ledger.run(
                "INSERT INTO parents VALUES (?, ?, ?, ?, ?, ?, ?)",
                (parent.id, document, parent.start, parent.end, parent.text, metadata, tokens),
            )

    def _parents_of(self, ids: Sequence[str]) -> dict[str, str]:
        query = (
            "SELECT id, (SELECT parents.id FROM parents WHERE parents.document = chunks.document "
            "AND parents.start <= chunks.start ORDER BY parents.start DESC LIMIT 1) "
            f"FROM chunks WHERE {AMONG}"
        )
        return dict(self._ledger.rows(query, (json.dumps(list(ids)),)))


def returned_chunks(ledger: Ledger, chunking: ChunkSettings) -> ReturnedChunks:
    """Return what knows what an index returns that was cut in this way."""
    return (
        ReturnedParents(ledger, chunking.encoding)
        if chunking.parent_size
        else ReturnedChunks(ledger)
    )


def mean_vectors(
    chunks: Mapping[str, Sequence[str]], rows: Mapping[str, StoreRow]
) -> dict[str, Floats]:
    """Return the vectors, shape (d,), of what is returned; of what no row is of, none.

    Args:
        chunks: For each id the chunks that stand for it, from `chunks_of`.
        rows: What the vector store holds of those chunks.
    """
    held = {id: [rows[key].vector for key in keys if key in rows] for id, keys in chunks.items()}
    return {id: _mean(vectors) for id, vectors in held.items() if vectors}


def _mean(vectors: Sequence[Floats]) -> Floats:
    return vectors[0] if len(vectors) == 1 else np.asarray(np.mean(vectors, axis=0))
