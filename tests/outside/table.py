"""A vector store from outside the package: one SQLite table, searched row by row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.stores.base import StoreRow, StoreURL
from ragwright.retrievers.types import Metadata


class Table:
    awaited = None

    def __init__(self, url: StoreURL, *, dimension: int | None, create: bool) -> None:
        file = Path(url.address)
        if not create and not file.exists():
            raise IndexFault(f"There is no table at {url.address!r}.")
        self.db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS rows (id TEXT PRIMARY KEY, v BLOB, t TEXT, m)")
        self.db.execute("CREATE TABLE IF NOT EXISTS note (n INTEGER PRIMARY KEY, text TEXT)")

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        blobs = [row.astype(np.float32).tobytes() for row in vectors]
        facts = [json.dumps(dict(row)) for row in metadata]
        rows = zip(ids, blobs, texts, facts, strict=True)
        self.db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", rows)

    def delete(self, ids: Sequence[str]) -> None:
        self.db.executemany("DELETE FROM rows WHERE id = ?", [(id,) for id in ids])

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        if where is not None:
            raise InputError("This table knows no filters.")
        rows = self.db.execute("SELECT id, v FROM rows").fetchall()
        scores = {id: float(np.frombuffer(blob, dtype=np.float32) @ vector) for id, blob in rows}
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:n])

    def ids(self) -> Iterator[str]:
        return (id for (id,) in self.db.execute("SELECT id FROM rows").fetchall())

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        marks = ",".join("?" * len(ids))
        found = self.db.execute(f"SELECT * FROM rows WHERE id IN ({marks})", list(ids))
        return {
            id: StoreRow(np.frombuffer(blob, dtype=np.float32), text, json.loads(facts))
            for id, blob, text, facts in found.fetchall()
        }

    def stamp(self) -> str:
        found = self.db.execute("SELECT text FROM note").fetchone()
        return str(found[0]) if found else ""

    def set_stamp(self, text: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO note VALUES (1, ?)", (text,))

    def reload(self) -> None:
        """SQLite sees what others wrote."""

    def mend(self) -> None:
        """SQLite mends itself."""

    def close(self) -> None:
        self.db.close()
