"""Creates MLflow's database whole or not at all: built under another name, then renamed.

MLflow builds one by some hundred changes, each kept at once. A process killed between two leaves a
file that MLflow refuses ever after. One without runs is kept in the cache and copied from then on.
Knows nothing of runs; shared by all that write some.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from ragwright.retrievers.cache_file import cache_folder
from ragwright.retrievers.durable import fsync_path

BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database, by the end of its name."""
FILES = "mlartifacts"
"""Where files of MLflow's default experiment go, beside the database."""


def mlflow_client(uri: str) -> Any:
    """Return MLflow's client of a store, which is there in one step where it is a new local file.

    Raises:
        OSError: The file cannot be made.
        mlflow.exceptions.MlflowException, sqlalchemy.exc.SQLAlchemyError: MLflow refuses.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    make_database(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def database_file(uri: str) -> Path | None:
    """Return the file that a store is, or will be; None where it is none, or a server's."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy import make_url

    name = make_url(uri).database
    return Path(name) if name and name != ":memory:" and not name.startswith("file:") else None


def make_database(uri: str) -> None:
    """Make MLflow's tables where a store is a local file that has nothing in it yet.

    A half made file, which a killed process left, goes to `NAME.unfinished` first. One that holds a
    single row is left as it is, and so is what is no SQLite. Two at once: the second waits.

    Raises:
        OSError: The file cannot be made.
        mlflow.exceptions.MlflowException, sqlalchemy.exc.SQLAlchemyError: MLflow cannot make it.
    """
    found = database_file(uri)
    if found is None or _kept(found):
        return
    from sqlalchemy import make_url

    file, url = found.resolve(), make_url(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(file.with_name(f"{file.name}.lock")):
        if _kept(file):
            return
        made = file.with_name(f"{file.name}.making")
        _remove(made)
        _build(made, url.set(database=str(made)).render_as_string(hide_password=False))
        if not _kept(file):  # MLflow itself, which knows no lock of ours, may have been quicker
            _put(made, file)
        _remove(made)


def _kept(file: Path) -> bool:
    """Whether a file holds anything that must not be lost: any row, or something else than SQLite.

    Every database that MLflow has finished has a row: its default experiment.
    """
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(file, timeout=60)) as database:
            found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = [name for (name,) in found if name != "alembic_version"]
            return any(_filled(database, name) for name in tables)
    except sqlite3.Error:
        return True


def _filled(database: sqlite3.Connection, table: str) -> bool:
    quoted = table.replace('"', '""')
    return database.execute(f'SELECT 1 FROM "{quoted}" LIMIT 1').fetchone() is not None


def _build(made: Path, uri: str) -> None:
    """Make the tables, or copy those that this version of MLflow made before: far faster."""
    from mlflow import __version__

    ready = cache_folder() / f"mlflow-{__version__}.db"
    if _copied(ready, made):
        return
    _remove(made)
    _migrate(made, uri)
    beside = ready.with_name(f"{ready.name}.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):  # a cache that cannot be written costs time alone
        ready.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, beside)
        beside.replace(ready)


def _copied(ready: Path, made: Path) -> bool:
    """Copy a database without runs and give it another home; False if that one is not sound."""
    if not ready.is_file():
        return False
    home, now = (made.parent / FILES).as_uri(), int(1000 * time.time())
    try:
        shutil.copyfile(ready, made)
        with closing(sqlite3.connect(made)) as database, database:
            sound = database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            changed = database.execute(
                "UPDATE experiments SET artifact_location = ? || '/' || experiment_id, "
                "creation_time = ?, last_update_time = ?",
                (home, now, now),
            )
            return sound and changed.rowcount == 1
    except (OSError, sqlite3.Error):
        return False


def _migrate(made: Path, uri: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with _hasty(made):
        store = SqlAlchemyStore(uri, (made.parent / FILES).as_uri())
        # The last connection that is closed writes what SQLite keeps beside the file into it.
        store.engine.dispose()


@contextmanager
def _hasty(file: Path) -> Iterator[None]:
    """Let SQLite not wait for the disk after each change of a file that is thrown away if cut."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def set_up(connection: Any, _record: Any) -> None:
        # Other threads may open other databases meanwhile.
        if any(Path(row[2]) == file for row in connection.execute("PRAGMA database_list")):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", set_up)
    try:
        yield
    finally:
        event.remove(Engine, "connect", set_up)


def _put(made: Path, file: Path) -> None:
    fsync_path(made)
    # A journal of an earlier file of this name would be played back into the new one.
    for end in ("", *BESIDE):
        with suppress(FileNotFoundError):
            Path(f"{file}{end}").replace(f"{file}.unfinished{end}")
    made.replace(file)
    fsync_path(file.parent)


def _remove(file: Path) -> None:
    for end in ("", *BESIDE):
        Path(f"{file}{end}").unlink(missing_ok=True)
