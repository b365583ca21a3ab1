"""A program over collections that somebody else filled is compiled, saved and served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromadb
import pytest
from starlette.testclient import TestClient

from ragwright.artifacts import save
from ragwright.artifacts.server import ServerSettings, create_app
from ragwright.optimize import compile_program
from ragwright.programs.sections import IndexSection
from ragwright.retrievers import ChromaRetriever, open_index
from ragwright.retrievers.embedding import HashEmbedder
from ragwright.retrievers.index import close_index
from tests.artifacts.server.conftest import until
from tests.optimize.conftest import documents, lines, recipe

EMBEDDER = "hash:64"


def chroma(folder: Path, texts: list[str], metadatas: list[Any]) -> str:
    client = chromadb.PersistentClient(str(folder))
    rows = client.create_collection("towns", embedding_function=None)
    vectors = HashEmbedder(64).encode(texts).vectors
    ids = [str(number) for number in range(len(texts))]
    rows.add(ids=ids, documents=texts, embeddings=vectors, metadatas=metadatas)
    client.close()
    return f"chroma:{folder}#towns"


def qdrant(folder: Path, texts: list[str], metadatas: list[Any]) -> str:
    qdrant_client = pytest.importorskip("qdrant_client")
    models = qdrant_client.models
    client = qdrant_client.QdrantClient(path=str(folder))
    size = models.VectorParams(size=64, distance=models.Distance.COSINE)
    client.create_collection("towns", vectors_config=size)
    vectors = HashEmbedder(64).encode(texts).vectors.tolist()
    client.upsert("towns", points=[
        models.PointStruct(id=n, vector=vectors[n],
                           payload={"page_content": text, "metadata": metadatas[n]})
        for n, text in enumerate(texts)
    ])  # fmt: skip
    client.close()
    return f"qdrant:{folder}#towns"


@pytest.fixture(params=[chroma, qdrant])
def attached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    every = documents()
    texts, sources = [d.text for d in every], [{"source": d.id} for d in every]
    source = request.param(tmp_path / "owned", texts, sources)
    path = tmp_path / "index"
    ChromaRetriever.attach(source, path, embedder=EMBEDDER)
    yield path
    close_index(path)


def test_it_is_compiled_and_served(world: Path, attached: Path, tmp_path: Path) -> None:
    wanted = recipe(world, compile={"optimizer": "labeled", "retrieval_trials": 8})
    few = tmp_path / "questions.jsonl"
    few.write_text("".join(json.dumps(line) + "\n" for line in lines()[:56]), encoding="utf-8")
    over = {
        "index": IndexSection(path=str(attached), embedder=EMBEDDER),
        "data": wanted.data.model_copy(update={"trainset": str(few)}),
    }
    result = compile_program(wanted.model_copy(update=over), run_dir=tmp_path / "run")
    assert result.compiled.mean > 0
    saved = save(result.program, tmp_path / "artifact")
    app = create_app(ServerSettings(artifact=str(saved), feedback=""))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        until(lambda: client.get("/readyz").status_code == 200, 300)
        town = documents()[0]
        asked = client.post("/v1/ask", json={"question": f"When was {town.title} founded?"})
        assert asked.status_code == 200
        assert any(town.id == one["document"] for one in asked.json()["passages"])
    assert open_index(attached).count == len(documents())
