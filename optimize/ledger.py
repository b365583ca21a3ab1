"""LM calls on disk: what was asked, what came back and what it cost, one row per attempt.

A row is written before a call goes out and completed when it comes back, so a call that a crash
swallowed still counts as spent, and one that came back is never paid for again, unless it was of no
use (see `unread.py`). SQLite in write-ahead mode: a killed process loses nothing that was written.
Knows nothing of limits.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, stage TEXT NOT NULL,
    reply TEXT, prompt_tokens INTEGER DEFAULT 0, completion_tokens INTEGER DEFAULT 0,
    cost REAL DEFAULT 0, seconds REAL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_key ON calls (key) WHERE reply IS NOT NULL;
CREATE TABLE IF NOT EXISTS unread (number INTEGER PRIMARY KEY);
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

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was paid for: JSON text, and how many seconds it took."""

    text: str
    seconds: float


class CallLedger:
    """The calls of any number of runs; safe to use from many threads.

    Args:
        file: The SQLite file; in memory only without one.
        run: Names the run whose calls are written.
    """

    def __init__(self, file: Path | None = None, *, run: str = "") -> None:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        self.run = run
        self._lock = threading.Lock()
        self._rows = sqlite3.connect(file or ":memory:", check_same_thread=False, timeout=60)
        self._rows.execute("PRAGMA journal_mode = WAL")
        self._rows.execute("PRAGMA synchronous = NORMAL")
        self._rows.executescript(_SCHEMA)

    def find(self, key: str) -> Reply | None:
        """Return the reply to a call that has been made before: this run's, or a readable one."""
        with self._lock:
            found = self._rows.execute(
                "SELECT reply, seconds FROM calls WHERE key = :key AND reply IS NOT NULL"
                " AND (run = :run OR number NOT IN (SELECT number FROM unread))"
                " ORDER BY run != :run, number LIMIT 1",
                {"key": key, "run": self.run},
            ).fetchone()
        return Reply(*found) if found else None

    def mark_unread(self, keys: Sequence[str]) -> None:
        """Say that the replies to these calls could not be read: no other run meets them again."""
        with self._lock, self._rows:
            self._rows.execute(
                "INSERT OR IGNORE INTO unread SELECT number FROM calls"
                " WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps(keys),),
            )

    def drop_unread(self) -> None:
        """Let this run, too, ask again what it could not read in any stage; it stays paid for."""
        with self._lock, self._rows:
            self._rows.execute(
                "UPDATE calls SET reply = NULL WHERE run = ?"
                " AND number IN (SELECT number FROM unread)",
                (self.run,),
            )

    def open(self, key: str, stage: str) -> int:
        """Write down that a call goes out, and return its number."""
        with self._lock, self._rows:
            row = self._rows.execute(
                "INSERT INTO calls (key, run, stage) VALUES (?, ?, ?)", (key, self.run, stage)
            )
        return int(row.lastrowid or 0)

    def close(self, number: int, reply: Reply, bill: Bill) -> None:
        """Write down what came back."""
        with self._lock, self._rows:
            self._rows.execute(
                "UPDATE calls SET reply = ?, seconds = ?, prompt_tokens = ?, completion_tokens = ?,"
                " cost = ? WHERE number = ?",
                (reply.text, reply.seconds, bill.prompt_tokens, bill.completion_tokens,
                 bill.cost, number),
            )  # fmt: skip

    def bills(self) -> Mapping[str, Bill]:
        """Return what this run has spent, by stage, over all processes that worked on it."""
        with self._lock:
            rows = self._rows.execute(
                "SELECT stage, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens), SUM(cost)"
                " FROM calls WHERE run = ? GROUP BY stage",
                (self.run,),
            ).fetchall()
        return {stage: Bill(*numbers) for stage, *numbers in rows}
