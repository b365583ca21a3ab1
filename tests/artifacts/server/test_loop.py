"""The whole loop in real processes: compile, publish, promote, check, load elsewhere, serve, ask,
rate, export, compile again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragwright.artifacts.client import Client, ServerError
from tests.artifacts.server.conftest import until
from tests.processes import Forked, rag
from tests.servers.ports import free_port

pytestmark = pytest.mark.slow

RAG = [sys.executable, "-c", "from ragwright.artifacts.cli import main; main()"]
RECIPE = """
name = "towns"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
[data]
trainset = "questions.jsonl"
train = 0.25
dev = 0.25
[compile]
optimizer = "labeled"
retrieval_trials = 1
shortlist = 1
threads = 2
"""
LOAD = (
    "import sys; from ragwright.artifacts import load; "
    "print(load(sys.argv[1])(question='Which river is the river of Town7?').answer)"
)


class Shell:
    """Runs `rag` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = str(Path(__file__).parents[3] / "src")
        more = {"PYTHONPATH": root, "MPLBACKEND": "Agg"}
        # MLflow leaves its store in the environment of the process that ran other tests.
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING")},
            **more,
        }

    def __call__(self, *words: str) -> Any:
        out, err = (self.folder / name for name in ("out.txt", "err.txt"))
        for file in (out, err):
            file.unlink(missing_ok=True)
        done = Forked(
            rag, *words, "--json", folder=self.folder, out=out, err=err, env=self.environment
        )
        done.wait(timeout=300)
        assert done.returncode == 0, err.read_text()[-2000:]
        return json.loads(out.read_text())

    def elsewhere(self, code: str, *words: str, **variables: str) -> str:
        """Run a line of Python in another, empty folder."""
        place = self.folder / "elsewhere"
        place.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**self.environment, **variables},
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert list(place.iterdir()) == []
        return done.stdout

    def questions(self) -> list[dict[str, str]]:
        lines = (self.folder / "questions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @contextmanager
    def serving(self, name: str) -> Iterator[str]:
        port = free_port()
        with (self.folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*RAG, "serve", name, "--port", str(port)],
                cwd=self.folder,
                env=self.environment,
                stderr=log,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: _ready(url), 300)
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(300)


def _ready(url: str) -> bool:
    with Client(url) as client:
        try:
            return client.health().status == "ok"
        except ServerError:
            return False


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with a recipe, 40 documents and a question to each."""
    pairs = [(f"Town{n}", f"River{n}") for n in range(40)]
    texts = [{"_id": a, "text": f"The river of {a} is {b}. It is long."} for a, b in pairs]
    questions = [
        {"question": f"Which river is the river of {a}?", "answer": b, "document": a}
        for a, b in pairs
    ]
    (tmp_path / "recipe.toml").write_text(RECIPE)
    for name, lines in (("documents", texts), ("questions", questions)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    return Shell(tmp_path)


def test_the_whole_loop(shell: Shell) -> None:
    shell("ingest", "recipe.toml")
    first = shell("compile", "recipe.toml")
    assert first["artifact"].endswith("artifacts/compiled/towns")
    assert shell("artifacts", "promote", "towns")["aliases"]["champion"] == 1
    published = shell("artifacts", "publish", "towns")
    assert published["tracking_uri"] == first["mlflow"]["uri"]
    assert published["aliases"] == {"candidate": 1, "champion": 1}
    checked = shell("artifacts", "check", "towns")
    assert (checked["verdict"], checked["n"]) == ("holds", first["n"])
    assert checked["counts"]["unchanged"] == first["n"]
    tracking = {
        "MLFLOW_TRACKING_URI": published["tracking_uri"],
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    assert "River7" in shell.elsewhere(LOAD, "models:/towns@champion", **tracking)
    asked = shell.questions()
    with shell.serving("towns@champion") as url:
        answer = shell("ask", asked[0]["question"], "--server", url)
        assert answer["source"]["version"] == "1"
        with Client(url) as client:
            for line in asked:
                found = client.ask(line["question"])
                right = line["answer"] == found.answer
                client.feedback(
                    found,
                    "up" if right else "down",
                    correction="" if right else line["answer"],
                )
    exported = shell("feedback", "export", "more.jsonl")
    assert (exported["opinions"], exported["questions"]) == (len(asked), len(asked))
    assert (list(exported["callers"].values()), exported["contradicted"]) == ([len(asked)], 0)
    second = shell("compile", "recipe.toml", "more.jsonl")
    assert second["artifact"] == first["artifact"]
    assert (shell.folder / "artifacts/compiled/towns/2").is_dir()
