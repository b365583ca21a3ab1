"""MLflow's database is whole or absent: kills at any of the steps that make it, two at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from ragwright.retrievers.mlflow_database import make_database, mlflow_client

pytestmark = pytest.mark.slow

STEPS = (0, 2, 150, 10_000)
"""Statements that SQLite has seen when the process is killed; the last is never reached."""
KILLED = """
import os, signal, sys
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event
from sqlalchemy.engine import Engine
from ragwright.retrievers.mlflow_database import make_database

folder, ours, *steps = sys.argv[1:]

def kill(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

for step in steps:
    if os.fork() == 0:
        left = int(step)
        event.listen(Engine, "before_cursor_execute", kill)
        uri = f"sqlite:///{folder}/{step}/mlflow.db"
        os.makedirs(f"{folder}/{step}")
        make_database(uri) if ours == "ours" else MlflowClient(uri)
        os._exit(0)
    _, status = os.wait()
    print(-os.waitstatus_to_exitcode(status))
"""


def killed(folder: Path, *steps: int, ours: bool = True) -> list[int]:
    """Make databases in processes that end at a step, and return what signal ended each."""
    words = [str(folder), "ours" if ours else "theirs", *map(str, steps)]
    command = [sys.executable, "-W", "ignore", "-c", KILLED, *words]
    new = {**os.environ, "RAGWRIGHT_CACHE": str(folder / "cache")}  # without a database to copy
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=new)
    return [int(line) for line in done.stdout.split()]


def works(file: Path) -> bool:
    """Whether MLflow itself takes the file, and keeps a run in it."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{file}")
    run = client.create_run("0").info.run_id
    return str(client.get_run(run).info.run_id) == run


def test_a_process_killed_at_any_step_leaves_no_half_database(tmp_path: Path) -> None:
    assert killed(tmp_path, *STEPS) == [signal.SIGKILL] * (len(STEPS) - 1) + [0]
    for step in STEPS:
        home = tmp_path / str(step)
        assert (home / "mlflow.db").exists() == (step == STEPS[-1])
    file = tmp_path / "150" / "mlflow.db"
    make_database(f"sqlite:///{file}")
    assert works(file)
    assert {path.name for path in file.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_what_mlflow_itself_left_half_made_is_put_aside(tmp_path: Path) -> None:
    assert killed(tmp_path, 150, ours=False) == [signal.SIGKILL]
    file = tmp_path / "150" / "mlflow.db"
    assert file.stat().st_size > 0
    # A journal of an earlier file must not be played back into the new one.
    file.with_name("mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 70)
    assert mlflow_client(f"sqlite:///{file}").create_run("0").info.run_id
    assert file.with_name("mlflow.db.unfinished").exists()


def test_a_database_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    other, text = tmp_path / "other.db", tmp_path / "text.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE notes (note)")
        database.execute("INSERT INTO notes VALUES ('mine')")
    database.close()
    text.write_text("no database at all, but somebody's " * 100)
    for file in (other, text):
        before = file.read_bytes()
        make_database(f"sqlite:///{file}")
        assert file.read_bytes() == before
    for uri in ("http://127.0.0.1:9", "postgresql://a:b@c/d", "sqlite://", "sqlite:///:memory:"):
        make_database(uri)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.db", "text.db"]


def test_two_at_once_make_one(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make_database, [uri] * 4))
    assert works(tmp_path / "mlflow.db")


def rows(file: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.timeout(120)
def test_a_copied_database_is_what_mlflow_would_have_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path / "cache"))
    built, copied = tmp_path / "built" / "mlflow.db", tmp_path / "copied" / "mlflow.db"
    damaged = tmp_path / "cache" / f"mlflow-{mlflow.__version__}.db"
    damaged.parent.mkdir()
    damaged.write_bytes(b"SQLite format 3\0" + bytes(20_000))
    make_database(f"sqlite:///{built}")
    make_database(f"sqlite:///{copied}")
    for table in ("alembic_version", "sqlite_master", "experiment_tags"):
        assert rows(built, table) == rows(copied, table)
    (one,), (other,) = rows(built, "experiments"), rows(copied, "experiments")
    moved = [value for value in other if value not in one]
    assert (copied.parent / "mlartifacts" / "0").as_uri() in moved
    assert all(isinstance(value, int) for value in moved[1:])  # when it was made
    assert works(copied)
