"""Keeps answers and what people thought of them in SQLite.

Several processes may share the file. Knows nothing of HTTP or of terminals.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ragwright.artifacts.server.opinions import CANDIDATE, INCUMBENT, AnswerRecord, Opinion
from ragwright.retrievers.database import make_private, open_database, what_helps
from ragwright.retrievers.errors import InputError, RecordFault

log = logging.getLogger("ragwright.server")

KEPT = 100_000
"""Answers without feedback that are kept; older ones are forgotten."""
PATIENCE = 1.0
"""Seconds to wait for another process that writes: answers wait for this."""
PAUSE = 5.0
"""Seconds after a failure in which nothing is tried, so that answers do not queue to fail."""
_EVERY = 250
"""Writes between two times that the log is moved into the file, and old answers are forgotten."""
_SCHEMA = """
PRAGMA journal_mode = WAL;
-- A power cut may lose the last answers, never the file.
PRAGMA synchronous = NORMAL;
-- Whoever happens to write last would wait for the disk: it is done by threads, see `_settle`.
PRAGMA wal_autocheckpoint = 0;
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at TEXT NOT NULL,
    question TEXT NOT NULL, answer TEXT NOT NULL, documents TEXT NOT NULL,
    artifact TEXT NOT NULL, version TEXT NOT NULL, trace TEXT, scope TEXT NOT NULL DEFAULT '',
    arm TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS feedback (
    answer_id TEXT PRIMARY KEY REFERENCES answers (id), at TEXT NOT NULL, rating TEXT NOT NULL,
    comment TEXT NOT NULL, correction TEXT NOT NULL, caller TEXT NOT NULL);
"""


class FeedbackStore:
    """Answers and feedback in one SQLite file. Safe to use from several threads.

    Args:
        path: The file.
        create: Make it if it is missing.

    Raises:
        InputError: There is no such file, or it is something else.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        file = Path(path)
        if create:
            _make_room(file)
        elif not file.is_file():
            raise InputError(
                f"There is no feedback in {str(file)!r}.",
                hint="`rag serve` writes it; give its file with --store.",
            )
        self._path = file
        self._closed_until = 0.0
        self._left = 0
        self._lock = threading.Lock()
        try:
            self._connection = open_database(file, _SCHEMA, timeout=PATIENCE)
            _bring_up_to_date(self._connection)
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{str(file)!r} cannot be opened as a feedback store: {error}.",
                hint=what_helps(error, "Name another file with --store."),
            ) from error

    def record(self, given: AnswerRecord) -> None:
        """Remember an answer, so that feedback can refer to it.

        Raises:
            RecordFault: It cannot be written now, or could not a moment ago.
        """
        with self._changing() as connection:
            _insert(connection, given)

    def record_at_once(self, given: AnswerRecord) -> bool:
        """Remember an answer where that takes no waiting, for an event loop; tell whether it did.

        It waits for no thread and no other process, and not for the disk: in WAL mode a commit is
        written and not synchronised.

        Raises:
            RecordFault: It cannot be written now, or could not a moment ago.
        """
        if self._left <= 0 or not self._lock.acquire(blocking=False):
            return False
        try:
            with self._writing() as connection, _without_patience(connection):
                return _insert_unless_held(connection, given)
        finally:
            self._lock.release()

    def trace(self, answer_id: str, trace: str) -> None:
        """Note which MLflow trace shows an answer."""
        with self._changing() as connection:
            connection.execute("UPDATE answers SET trace = ? WHERE id = ?", (trace, answer_id))

    def rate(
        self, answer_id: str, rating: str, *, comment: str = "", correction: str = "",
        caller: str = "", scope: str = "",
    ) -> AnswerRecord | None:  # fmt: skip
        """Note feedback, in place of what was said of the same answer before.

        Returns:
            The answer, or None if it is not known, or was given to a caller who may see other
            things than `scope`, unless that is all.

        Raises:
            RecordFault: It cannot be written.
        """
        with self._changing() as connection:
            given = _given(connection, answer_id)
            if given is not None and scope not in ("", given.scope):
                return None
            if given is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?)",
                    (answer_id, _now(), rating, comment, correction, caller),
                )
        return given

    def opinions(self) -> list[Opinion]:
        """Return all feedback, oldest first."""
        query = (
            f"SELECT {_COLUMNS}, feedback.at, rating, comment, correction, caller FROM feedback "
            "JOIN answers ON answers.id = answer_id ORDER BY feedback.at, number"
        )
        with self._lock, closing(self._connection.execute(query)) as rows:
            return [Opinion(_read(row), *row[9:]) for row in rows]

    def trial(self) -> list[Opinion]:
        """Return the feedback on the two versions that are compared, or were last, oldest first.

        That of earlier comparisons is about other versions, and that of other times was not dealt.
        """
        query = "SELECT artifact, version FROM answers WHERE arm = ? ORDER BY number DESC LIMIT 1"
        with self._lock:
            latest = {
                arm: self._connection.execute(query, (arm,)).fetchone()
                for arm in (INCUMBENT, CANDIDATE)
            }
        return [
            one
            for one in self.opinions()
            if (one.given.artifact, one.given.version) == latest.get(one.given.arm)
        ]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._writing() as connection:
            if self._left <= 0:
                _settle(connection)
                self._left = _EVERY
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if time.monotonic() < self._closed_until:
            raise RecordFault("Feedback could not be written a moment ago.")
        try:
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            self._closed_until = time.monotonic() + PAUSE
            log.warning("feedback cannot be written, answers go on without: %s", error)
            raise RecordFault(
                f"The feedback store {str(self._path)!r} cannot be written: {error}.",
                hint=what_helps(error, "Make room on its disk."),
            ) from error
        self._left -= 1


def _insert(connection: sqlite3.Connection, given: AnswerRecord) -> None:
    values = (given.id, _now(), given.question, given.answer, json.dumps(given.documents))
    connection.execute(
        "INSERT INTO answers (id, at, question, answer, documents, artifact, version, "
        "trace, scope, arm) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, given.artifact, given.version, given.trace, given.scope, given.arm),
    )


def _insert_unless_held(connection: sqlite3.Connection, given: AnswerRecord) -> bool:
    try:
        _insert(connection, given)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


@contextmanager
def _without_patience(connection: sqlite3.Connection) -> Iterator[None]:
    """Wait for no other process inside."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {1000 * PATIENCE:.0f}")


def _settle(connection: sqlite3.Connection) -> None:
    """Move the log into the file, and forget old answers that nobody said anything of."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.execute(
        "DELETE FROM answers WHERE number <= (SELECT MAX(number) FROM answers) - ? "
        "AND id NOT IN (SELECT answer_id FROM feedback)",
        (KEPT,),
    )


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Bring a file of an earlier release up to date."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(answers)")}
    for name in ("scope", "arm"):
        if name not in columns:
            connection.execute(f"ALTER TABLE answers ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")


def _make_room(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        make_private(file)  # what people asked is theirs
    except OSError as error:
        raise InputError(
            f"The feedback store {str(file)!r} cannot be made: {error.strerror}.",
            hint='Name another file with --store, or none with --store "".',
        ) from error


_COLUMNS = "answers.id, question, answer, documents, artifact, version, trace, scope, arm"


def _given(connection: sqlite3.Connection, answer_id: str) -> AnswerRecord | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM answers WHERE id = ?", (answer_id,)
    ).fetchone()
    return _read(row) if row else None


def _read(row: Sequence[str]) -> AnswerRecord:
    id, question, answer, documents, artifact, version, trace, scope, arm = row[:9]
    cited = _cited(documents)
    return AnswerRecord(id, question, answer, cited, artifact, version, trace, scope, arm)


def _cited(documents: str) -> tuple[str, ...]:
    """Read which documents an answer cites; a damaged row says of none."""
    try:
        found = json.loads(documents)
    except (ValueError, TypeError, RecursionError):
        return ()
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
