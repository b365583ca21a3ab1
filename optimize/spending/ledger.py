"""The ledger of LM calls: what was asked, what came back and what it cost, a row per attempt.

A row is written before a call goes out and completed when it comes back, so a call that a crash
swallowed still counts as spent, and one that came back is never paid for again, unless it was of no
use (see `unread.py`). SQLite in write-ahead mode: a killed process loses nothing that was written.
Knows nothing of limits.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragwright.retrievers.database import open_database, what_helps

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, stage TEXT NOT NULL,
    reply TEXT, prompt_tokens INTEGER DEFAULT 0, completion_tokens INTEGER DEFAULT 0,
    cost REAL DEFAULT 0, seconds REAL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_key ON calls (key) WHERE reply IS NOT NULL;
CREATE TABLE IF NOT EXISTS marks (
    number INTEGER NOT NULL, run TEXT NOT NULL, dropped INTEGER DEFAULT 0,
    PRIMARY KEY (number, run)
);
"""
_MET = """
SELECT calls.number, reply, seconds FROM calls
LEFT JOIN marks ON marks.number = calls.number AND marks.run = :run
WHERE key = :key AND reply IS NOT NULL AND NOT coalesce(
    marks.dropped, calls.run != :run AND calls.number IN (SELECT number FROM marks)
)
ORDER BY calls.run != :run, calls.number LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Bill:
    """What was spent: attempts that went out, the tokens that providers report, US dollars."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return Bill(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )

    def __sub__(self, other: Bill) -> Bill:
        return self + Bill(
            -other.calls, -other.prompt_tokens, -other.completion_tokens, -other.cost
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class PaidReply:
    """A reply that was paid for: JSON text, and how many seconds it took."""

    text: str
    seconds: float


class LedgerFault(BaseException):
    """The ledger cannot be read or written. A signal, like `BudgetSpent`: as an error it would
    count as one wrong answer after the other.
    """


class CallLedger:
    """The calls of any number of runs; safe to use from many threads.

    Args:
        file: The SQLite file; in memory only without one.
        run: Names the run whose calls are written.

    Raises:
        LedgerFault: The file is damaged or cannot be written; later too, by every method.
    """

    def __init__(self, file: Path | None = None, *, run: str = "") -> None:
        self.run = run
        self._lock = threading.Lock()
        self._file = file
        with self._faults():
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
            self._rows = open_database(file or ":memory:", _SCHEMA, timeout=60)
        # A thread left behind may still write down what its call brought: the last one closes it.
        weakref.finalize(self, self._rows.close)

    def find(self, key: str) -> PaidReply | None:
        """Return the reply to a call that has been made before.

        This run's own, else one that no run could not read, or that this run itself could not.
        """
        with self._lock, self._faults():
            found = self._rows.execute(_MET, {"key": key, "run": self.run}).fetchone()
        return PaidReply(*found[1:]) if found and _whole(found[1]) else None

    def mark_unread(self, keys: Sequence[str]) -> None:
        """Say that this run could not read the replies that it finds: they are left to it alone."""
        with self._lock, self._faults(), self._rows:
            self._rows.executemany(
                f"INSERT OR IGNORE INTO marks (number, run) SELECT number, :run FROM ({_MET})",
                [{"key": key, "run": self.run} for key in keys],
            )

    def drop_unread(self) -> None:
        """Let this run, too, ask again what it could not read in any stage; it stays paid for."""
        with self._lock, self._faults(), self._rows:
            self._rows.execute("UPDATE marks SET dropped = 1 WHERE run = ?", (self.run,))

    def open(self, key: str, stage: str) -> int:
        """Write down that a call goes out, and return its number."""
        with self._lock, self._faults(), self._rows:
            row = self._rows.execute(
                "INSERT INTO calls (key, run, stage) VALUES (?, ?, ?)", (key, self.run, stage)
            )
        return int(row.lastrowid or 0)

    def close(self, number: int, reply: PaidReply, bill: Bill) -> None:
        """Write down what came back."""
        with self._lock, self._faults(), self._rows:
            self._rows.execute(
                "UPDATE calls SET reply = ?, seconds = ?, prompt_tokens = ?, completion_tokens = ?,"
                " cost = ? WHERE number = ?",
                (reply.text, reply.seconds, bill.prompt_tokens, bill.completion_tokens,
                 bill.cost, number),
            )  # fmt: skip

    def bills(self) -> Mapping[str, Bill]:
        """Return what this run has spent, by stage, over all processes that worked on it."""
        with self._lock, self._faults():
            rows = self._rows.execute(
                "SELECT stage, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens), SUM(cost)"
                " FROM calls WHERE run = ? GROUP BY stage",
                (self.run,),
            ).fetchall()
        return {stage: Bill(*numbers) for stage, *numbers in rows}

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerFault(
                f"The ledger of calls {str(self._file)!r} cannot be used: {error}. "
                + what_helps(error, "See to the file and to the room on its disk.")
            ) from error


def _whole(reply: object) -> bool:
    """Tell whether a reply is what was written: JSON."""
    try:
        json.loads(str(reply))
    except ValueError:
        return False
    return True
