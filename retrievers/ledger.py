"""What an index holds, in SQLite: the one source of truth.

Vector store, keyword index and token vectors can each be a step ahead after a crash; the ledger
says which chunks count. A chunk is `writing` until every part holds it, then `live`, then `dead`
until every part has dropped it. Nothing here reads a whole table into memory. Knows nothing of
those parts, nor of what `returned.py` keeps in the table of parents; the file and its tables are in
`ledger_file.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.late import VectorSpan
from ragwright.retrievers.ledger_file import PAGE, LedgerFile
from ragwright.retrievers.types import Chunk, hash_parts

ChunkState = Literal["writing", "live", "dead"]

Length = tuple[int, int]
"""Of a text, in tokens and in characters."""

AMONG = "id IN (SELECT value FROM json_each(?)) AND state = 'live'"
"""One variable however many ids: SQLite limits the number of variables."""


@dataclass(frozen=True, slots=True)
class Record:
    """A chunk as the ledger holds it.

    Attributes:
        chunk: Its text, offsets and metadata.
        tokens: Length of the text in tokens of the index's encoding.
        span: Where its token vectors lie in the token file.
    """

    chunk: Chunk
    tokens: int
    span: VectorSpan


class Ledger(LedgerFile):
    """The ledger of one index. Safe to use from several threads; one process may write.

    Args:
        path: The SQLite file.
        create: Make the file if it is missing.

    Raises:
        IndexFault: The file is missing or is not a ledger; later, it cannot be written.
    """

    def fingerprint(self, document: str) -> str | None:
        """Return a document's fingerprint; None if the index does not hold it."""
        rows = self.rows("SELECT fingerprint FROM documents WHERE id = ?", (document,))
        return str(rows[0][0]) if rows else None

    def documents(self) -> Iterator[str]:
        """Yield the id of every document, in order; they may be dropped meanwhile."""
        query = "SELECT id FROM documents WHERE id > ? ORDER BY id LIMIT ?"
        return (id for (id,) in self.paged(query, ("",), key=slice(0, 1)))

    def put_document(self, id: str, fingerprint: str) -> None:
        self.run("INSERT OR REPLACE INTO documents VALUES (?, ?)", (id, fingerprint))

    def drop_document(self, id: str) -> None:
        self.run("DELETE FROM documents WHERE id = ?", (id,))

    def put_chunk(self, chunk: Chunk, *, tokens: int) -> None:
        """Enter a chunk as `writing`."""
        metadata = json.dumps(dict(chunk.metadata))
        self.run(
            "INSERT INTO chunks (id, document, start, end, text, metadata, tokens, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'writing')",
            (chunk.id, chunk.document_id, chunk.start, chunk.end, chunk.text, metadata, tokens),
        )

    def set_spans(self, spans: Iterable[tuple[str, VectorSpan]]) -> None:
        """Note where chunks' token vectors lie."""
        values = [(span.start, span.count, span.checksum, id) for id, span in spans]
        query = "UPDATE chunks SET vector_start = ?, vector_count = ?, vector_sum = ? WHERE id = ?"
        self.run_many(query, values)

    def set_state(self, ids: Iterable[str], state: ChunkState) -> None:
        self.run_many("UPDATE chunks SET state = ? WHERE id = ?", [(state, id) for id in ids])

    def forget(self, ids: Iterable[str]) -> None:
        """Remove chunks that every part has dropped."""
        self.run_many("DELETE FROM chunks WHERE id = ?", [(id,) for id in ids])

    def unsettled(self) -> list[str]:
        """Return ids of chunks that a crash left `writing` or `dead`: a page of them."""
        query = f"SELECT id FROM chunks WHERE state != 'live' LIMIT {PAGE}"
        return [id for (id,) in self.rows(query)]

    @property
    def unsettled_count(self) -> int:
        """How many chunks a crash left `writing` or `dead`."""
        return int(self.rows("SELECT count(*) FROM chunks WHERE state != 'live'")[0][0])

    def chunk_ids(self, document: str) -> list[str]:
        """Return the ids of the live chunks of a document."""
        query = "SELECT id FROM chunks WHERE document = ? AND state = 'live' ORDER BY start"
        return [id for (id,) in self.rows(query, (document,))]

    def path_of(self, document: str) -> str:
        """Return the path of the file that a document is of; "" if it is of none."""
        query = (
            "SELECT json_extract(metadata, '$.path') FROM chunks "
            "WHERE document = ? AND state = 'live' LIMIT 1"
        )
        path = next((found for (found,) in self.rows(query, (document,))), None)
        return path if isinstance(path, str) else ""

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return the live chunks among these ids."""
        query = f"SELECT {_COLUMNS} FROM chunks WHERE {AMONG}"
        return {row[0]: record_from_row(row) for row in self.rows(query, (json.dumps(list(ids)),))}

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the token counts of the live chunks among these ids."""
        query = f"SELECT id, tokens FROM chunks WHERE {AMONG}"
        return dict(self.rows(query, (json.dumps(list(ids)),)))

    def known(self, ids: Sequence[str]) -> int:
        """Return how many of these ids it knows, in whatever state."""
        query = "SELECT count(*) FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        return int(self.rows(query, (json.dumps(list(ids)),))[0][0])

    def lengths(self, ids: Sequence[str]) -> dict[str, Length]:
        """Return how long the live chunks among these ids are."""
        query = f"SELECT id, tokens, end - start FROM chunks WHERE {AMONG}"
        return {row[0]: row[1:] for row in self.rows(query, (json.dumps(list(ids)),))}

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the texts of the live chunks among these ids, without all else that is known."""
        query = f"SELECT id, text FROM chunks WHERE {AMONG}"
        return dict(self.rows(query, (json.dumps(list(ids)),)))

    def spans(self, ids: Sequence[str]) -> tuple[int, dict[str, VectorSpan]]:
        """Return the token file's number, and where in it the live chunks' vectors lie."""
        query = (
            f"SELECT id, {_SPAN}, "
            "(SELECT value FROM counters WHERE name = 'token_file') "
            f"FROM chunks WHERE {AMONG}"
        )
        rows = self.rows(query, (json.dumps(list(ids)),))
        return (rows[0][4] or 0) if rows else 0, {row[0]: VectorSpan(*row[1:4]) for row in rows}

    def all_records(self) -> Iterator[Record]:
        """Yield every live chunk, in the order of documents and offsets."""
        query = (
            f"SELECT {_COLUMNS}, row FROM chunks WHERE state = 'live' "
            "AND (document, start, row) > (?, ?, ?) ORDER BY document, start, row LIMIT ?"
        )
        rows = self.paged(query, ("", -1, -1), key=(1, 2, -1))
        return (record_from_row(row) for row in rows)

    def sample(self, n: int) -> list[Chunk]:
        """Return about n live chunks from all over the index, or all if there are no more."""
        every = max(1, self.counts()[1] // n)
        query = f"SELECT {_COLUMNS} FROM chunks WHERE state = 'live' AND row % ? = 0 LIMIT ?"
        return [record_from_row(row).chunk for row in self.rows(query, (every, 2 * n))]

    def ids(self) -> Iterator[str]:
        """Yield the id of every live chunk, in their order."""
        query = "SELECT id FROM chunks WHERE state = 'live' AND id > ? ORDER BY id LIMIT ?"
        return (id for (id,) in self.paged(query, ("",), key=slice(0, 1)))

    def counts(self) -> tuple[int, int]:
        """Return how many documents and how many live chunks there are."""
        documents = self.rows("SELECT count(*) FROM documents")[0][0]
        chunks = self.rows("SELECT count(*) FROM chunks")[0][0]
        return int(documents), int(chunks) - self.unsettled_count

    def rows_written(self) -> int:
        """Return how many chunks there are and were at most, without counting them."""
        return int(self.rows("SELECT coalesce(max(rowid), 0) FROM chunks")[0][0])

    def token_rows(self) -> int:
        """Return how many rows of the token file belong to live chunks."""
        query = "SELECT sum(vector_count) FROM chunks WHERE state = 'live'"
        return int(self.rows(query)[0][0] or 0)

    def content_hash(self) -> str:
        """Return a hash of the ids of all live chunks."""
        return hash_parts(self.ids())


_SPAN = "vector_start, vector_count, vector_sum"
_COLUMNS = f"id, document, start, end, text, metadata, tokens, {_SPAN}"


def record_from_row(row: tuple) -> Record:  # type: ignore[type-arg]
    """Read a row: id, document, start, end, text, metadata, tokens and a span's three numbers.

    Raises:
        IndexFault: Its metadata cannot be read.
    """
    try:
        facts = json.loads(row[5])
        if not isinstance(facts, dict):
            raise ValueError("its metadata is no table")
    except (ValueError, TypeError, RecursionError) as error:
        raise IndexFault(
            f"The ledger's row of {str(row[0])[:100]!r} is damaged: {error}.",
            hint="Build the index again.",
        ) from error
    chunk = Chunk(row[1], row[2], row[3], row[4], facts)
    return Record(chunk, row[6], VectorSpan(*row[7:10]))
