"""`rag mlflow` starts MLflow's own pages without a network, and ends with all it started."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.compile import CompileRequest, push_record
from ragwright.artifacts.manifest import TrackingRun
from ragwright.retrievers.errors import RecordFault
from ragwright.retrievers.mlflow_database import make_database

pytestmark = pytest.mark.slow

CODE = "from ragwright.artifacts.cli import main; main()"


def test_the_pages_open_at_the_last_run(tmp_path: Path) -> None:
    (tmp_path / ".rag").mkdir()
    make_database(f"sqlite:///{tmp_path}/.rag/mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/.rag/mlflow.db")
    run = client.create_run("0", tags={"verdict": "ship"}).info.run_id
    server = subprocess.Popen(
        [sys.executable, "-c", CODE, "mlflow", "--port", "0", "--no-browser"],
        cwd=tmp_path, env=dict(os.environ), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    with server.stdout:
        page = server.stdout.readline().strip()
        assert page.endswith(f"/#/experiments/0/runs/{run}")
        assert "MLflow" in httpx.get(page.partition("#")[0], timeout=300).text
        assert len(_within(tmp_path)) > 2  # this one, MLflow's, and those that it started
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=300) == 128 + signal.SIGTERM
    _gone(tmp_path)


def test_ctrl_c_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", CODE, "mlflow", "--port", "0", "--no-browser",
         "--tracking-uri", "http://127.0.0.1:9"],
        cwd=tmp_path, env=dict(os.environ), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stderr is not None
    with server.stderr:
        assert server.stderr.readline().strip() == "starting MLflow ..."
        while len(_within(tmp_path)) < 2:
            assert server.poll() is None
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=300) == 130
    _gone(tmp_path)


def _within(folder: Path) -> list[str]:
    """The processes that run in a folder."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if one.readlink() == folder:
                found.append(one.parent.name)
    return found


def _gone(folder: Path) -> None:
    """Killed processes take a moment until the system has forgotten them."""
    until = time.monotonic() + 120
    while left := _within(folder):
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_a_port_in_use_and_no_runs_are_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = CliRunner().invoke(app, ["mlflow"])
    assert (missing.exit_code, "There are no runs" in missing.stderr) == (2, True)
    unknown = CliRunner().invoke(app, ["mlflow", "nowhere.toml#small"])
    assert (unknown.exit_code, "no 'nowhere.toml'" in unknown.stderr) == (2, True)
    beyond = CliRunner().invoke(app, ["mlflow", "--port", "65536"])
    assert (beyond.exit_code, "65535" in beyond.stderr) == (2, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = ["mlflow", "--tracking-uri", "sqlite:///x.db", "--port", port]
        busy = CliRunner().invoke(app, words)
    assert (busy.exit_code, f"Port {port} is in use" in busy.stderr) == (2, True)


def test_a_run_that_was_not_copied_is_pushed_by_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recipe's name may have blanks, and the run lies in the workspace that was given."""

    def refused(*_: object, **more: object) -> None:
        asked.append(more["source"])
        raise RecordFault("It is down.")

    asked: list[object] = []
    workspace = tmp_path / "my runs"
    store = f"sqlite:///{workspace / 'mlflow.db'}"
    workspace.mkdir()
    make_database(store)
    monkeypatch.setattr("ragwright.artifacts.cli.compile.copy_run", refused)
    monkeypatch.setattr("ragwright.optimize.report.mlflow_copy.copy_run", refused)
    done: Any = SimpleNamespace(
        tracking=TrackingRun(uri=store, run_id="a1"), target=("http://127.0.0.1:9", "my team"),
        again=False,
    )  # fmt: skip
    for wanted in (
        CompileRequest(tmp_path / "hand book.toml", workspace=workspace),
        CompileRequest(workspace),
    ):
        push_record(done, wanted)
        told = capsys.readouterr().err.partition("Later: rag ")[2]
        assert CliRunner().invoke(app, shlex.split(told)).exit_code == 2
    assert asked == [store] * 4
