"""Sets of ids that may be larger than memory, in a private temporary database; and pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Self, TypeVar

T = TypeVar("T")


def batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` things."""
    iterator = iter(things)
    while page := list(islice(iterator, size)):
        yield page


class SeenIds:
    """A set of strings. SQLite keeps it in a temporary file of its own once it is large.

    Used as a context manager, and by one thread.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.execute("BEGIN")
        with ExitStack() as closed_on_failure:
            closed_on_failure.callback(self._connection.close)
            self.update(ids)
            closed_on_failure.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, id: str) -> bool:
        """Add an id; tell whether it is new."""
        insert = "INSERT OR IGNORE INTO seen VALUES (?)"
        return self._connection.execute(insert, (id,)).rowcount == 1

    def update(self, ids: Iterable[str]) -> None:
        """Add ids."""
        insert = "INSERT OR IGNORE INTO seen VALUES (?)"
        self._connection.executemany(insert, ((id,) for id in ids))

    def __contains__(self, id: str) -> bool:
        query = "SELECT 1 FROM seen WHERE id = ?"
        return self._connection.execute(query, (id,)).fetchone() is not None

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM seen").fetchone()[0])

    def __iter__(self) -> Iterator[str]:
        return (id for (id,) in self._connection.execute("SELECT id FROM seen ORDER BY id"))
