"""From a recipe to a promoted model in other processes: compile, publish, promote, check, load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
RAG = "from ragwright.artifacts.cli import main; main()"
LOAD = (
    "import sys; from ragwright.artifacts import load; "
    "print(load(sys.argv[1])(question='What is the capital of Land7?').answer)"
)
RECIPE = """
name = "towns"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
[data]
trainset = "questions.jsonl"
[compile]
optimizer = "bootstrap"
retrieval_trials = 4
threads = 2
"""


def _run(place: Path, code: str, *words: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables},
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _rag(place: Path, *words: str) -> Any:
    return json.loads(_run(place, RAG, *words, "--json"))


@pytest.mark.timeout(300)
def test_compile_publish_promote_load(tmp_path: Path) -> None:
    towns = {f"Land{n}": f"Town{n}" for n in range(60)}
    (tmp_path / "recipe.toml").write_text(RECIPE)
    _write(
        tmp_path / "documents.jsonl",
        [{"_id": a, "text": f"The capital of {a} is {b}. It is large."} for a, b in towns.items()],
    )
    _write(
        tmp_path / "questions.jsonl",
        [
            {"question": f"What is the capital of {a}?", "answer": b, "document": a}
            for a, b in towns.items()
        ],
    )
    _rag(tmp_path, "ingest", "recipe.toml")
    compiled = _rag(tmp_path, "compile", "recipe.toml")
    assert _rag(tmp_path, "artifacts", "promote", "towns")["aliases"]["champion"] == 1
    published = _rag(tmp_path, "artifacts", "publish", "towns")
    assert published["tracking_uri"] == compiled["mlflow"]["uri"]
    assert published["aliases"] == {"candidate": 1, "champion": 1}

    checked = _rag(tmp_path, "artifacts", "check", "towns")
    assert (checked["verdict"], checked["n"]) == ("holds", compiled["n"])
    assert checked["counts"]["unchanged"] == compiled["n"]

    (tmp_path / "elsewhere").mkdir()
    answer = _run(
        tmp_path / "elsewhere",
        LOAD,
        "models:/towns@champion",
        MLFLOW_TRACKING_URI=published["tracking_uri"],
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    )
    assert answer == "Town7\n"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def _write(file: Path, records: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
