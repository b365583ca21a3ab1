"""MLflow traces: the RETRIEVER span holds documents that its judges can read."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.programs.rag import RAG
from ragwright.retrievers.mlflow_database import make_database

pytestmark = pytest.mark.slow

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import mlflow
    import mlflow.dspy

    folder = tmp_path_factory.mktemp("mlflow")
    # Setting what was only the default would fix it for all that follows.
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    make_database(f"sqlite:///{folder / 'store.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'store.db'}")
    mlflow.create_experiment("traces", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("traces")
    counted = dspy.settings.track_usage
    mlflow.dspy.autolog()
    yield mlflow
    mlflow.dspy.autolog(disable=True)
    dspy.configure(track_usage=counted)
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("way", ["call", "acall"])
def test_a_judge_reads_the_passages(program: RAG, way: str, mlflow: Any) -> None:
    from mlflow.genai.utils.trace_utils import extract_retrieval_context_from_trace

    said = (
        program(question=QUESTION)
        if way == "call"
        else asyncio.run(program.acall(question=QUESTION))
    )
    # A trace is written in the background: what was awaited may come a little later.
    for _ in range(300):
        trace = mlflow.get_trace(mlflow.get_last_active_trace_id(), flush=True)
        if contexts := extract_retrieval_context_from_trace(trace):
            break
        time.sleep(0.2)
    read = [document["content"] for documents in contexts.values() for document in documents]
    assert read[-len(said.retrieved) :] == [str(passage) for passage in said.retrieved]
    assert {document["doc_uri"] for documents in contexts.values() for document in documents} >= {
        "paris"
    }


def test_programs_never_import_mlflow(index_path: str, tmp_path: Path) -> None:
    code = (
        "import sys, ragwright.programs.kinds, ragwright.programs.build\n"
        f"ragwright.programs.kinds.HybridRAG({index_path!r}).retriever('What?')\n"
        "print('mlflow' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"
