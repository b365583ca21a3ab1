"""An MLflow store may be somebody else's: what it says of its runs is read with care."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.mlflow import _latest
from ragwright.retrievers.errors import ModelError

Says = Callable[[Any, Any], str]


@pytest.fixture
def says() -> Iterator[Says]:
    """Start a server that lists such experiments and such runs; its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(experiments: Any, runs: Any) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                said = {"experiments": experiments, "runs": runs}
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def run(**info: Any) -> dict[str, Any]:
    return {"info": {"run_id": "a1", "experiment_id": "0", "start_time": 5, **info}}


@pytest.mark.parametrize(
    ("runs", "page"),
    [
        ([run(), run(run_id="b2", start_time=7)], "#/experiments/0/runs/b2"),
        ([run(run_id="x\x1b]52;c;aGk=\x07"), run()], "#/experiments/0/runs/a1"),
        ([run(run_id=None), run(run_id=["a"]), {}, {"info": {}}], ""),
        ([run(start_time="soon"), run(run_id="b2", start_time=None)], "#/experiments/0/runs/a1"),
        ([run(start_time="9" * 9000)], "#/experiments/0/runs/a1"),
        ([run(experiment_id="\x1b[2J/../x")], "#/experiments/%1B%5B2J/../x/runs/a1"),
    ],
)
def test_the_last_run_is_named_by_what_is_an_id(says: Says, runs: Any, page: str) -> None:
    assert _latest(says([{"experiment_id": "0"}, {}], runs)) == page


@pytest.mark.parametrize("wrong", ["x", 5, [5], None, [[1]]])
def test_what_is_no_list_of_runs_is_said(says: Says, wrong: Any) -> None:
    with pytest.raises(ModelError, match="did not say what runs it has"):
        _latest(says(wrong, []))


def test_a_model_of_a_registry_is_brought_here_before_it_is_served() -> None:
    shell = CliRunner().invoke(app, ["serve", "models:/towns@champion"])
    assert shell.exit_code == 2
    assert "rag artifacts pull" in shell.output
