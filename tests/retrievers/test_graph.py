"""The search graph tried out, an index's rows as Parquet, and all indexes of a folder."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.graph import TRIED, optimize_graph
from ragwright.retrievers.index import Index, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.migrate import copy_collection, move_index
from ragwright.retrievers.parquet import export_rows, import_rows, index_store_url
from ragwright.retrievers.stamp import IndexSettings, Stamp
from ragwright.retrievers.stores.base import GraphSettings, StoreURL
from ragwright.retrievers.types import Document
from tests.servers.qdrant import Qdrant
from tests.servers.rest import serving

DOCUMENTS = [
    Document(f"d{number}", f"Machine {number} turns {number * 7} parts.", metadata={"n": number})
    for number in range(40)
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    graph = GraphSettings(neighbors=8, search=50)
    ingest(DOCUMENTS, tmp_path / "ix", IndexSettings(embedder="hash", graph=graph))
    return tmp_path / "ix"


def test_every_setting_is_measured_against_exact_search(made: Path) -> None:
    found = optimize_graph(made, tried=TRIED[:2], target=0.9)
    assert (found.vectors, found.queries, len(found.tried)) == (40, 40, 2)
    assert all(one.recall > 0.9 and one.p95 >= one.p50 > 0 for one in found.tried)
    assert found.chosen is found.tried[0]
    assert found.recipe_lines.splitlines()[1] == "neighbors = 8"
    hopeless = optimize_graph(made, tried=TRIED[:1], target=1.1)
    assert hopeless.chosen is hopeless.tried[0]
    with pytest.raises(IndexFault, match="no index"):
        optimize_graph(made.parent)


def test_the_graph_of_a_recipe_is_the_stores_and_no_part_of_identity(made: Path) -> None:
    import chromadb

    with chromadb.PersistentClient(
        str(made / "chroma"), chromadb.Settings(anonymized_telemetry=False)
    ) as client:
        kept = client.get_collection("passages", embedding_function=None)
        graph = kept.configuration_json["hnsw"]
    assert (graph["max_neighbors"], graph["ef_search"]) == (8, 50)
    assert graph["ef_construction"] == 200
    other = IndexSettings(embedder="hash", graph=GraphSettings(search=70))
    assert ingest(DOCUMENTS, made, other).unchanged == 40
    assert Stamp.read(made).settings.graph.search == 70
    assert open_index(made).count == 40
    close_index(made)


def test_rows_go_through_parquet_and_come_back_equal(made: Path, tmp_path: Path) -> None:
    file, place = tmp_path / "rows.parquet", f"chroma:{tmp_path}/other"
    assert export_rows(index_store_url(made), file).rows == 40
    assert import_rows(file, StoreURL.parse(place)).rows == 40
    assert import_rows(file, StoreURL.parse(place)).rows == 40  # again: nothing doubles
    report = copy_collection(str(index_store_url(made)), place)
    assert (report.copied, report.kept, report.removed) == (0, 40, 0)
    (tmp_path / "wrong.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="Cannot read"):
        import_rows(tmp_path / "wrong.parquet", StoreURL.parse(place))


def test_the_commands_list_optimize_and_export(made: Path, tmp_path: Path) -> None:
    def rag(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return done.stdout

    (listed,) = json.loads(rag("index", "list", str(tmp_path), "--json"))
    assert (listed["chunks"], listed["embedder"]) == (40, "hash")
    assert "chroma:chroma" in rag("index", "list", str(tmp_path))
    moved = rag("index", "export", str(tmp_path / "r.parquet"), "--index", str(made), "--json")
    assert json.loads(moved)["rows"] == 40
    into = f"chroma:{tmp_path}/third"
    assert "40" in rag("index", "import", str(tmp_path / "r.parquet"), "--to", into)


@pytest.mark.parametrize("quantization", ["scalar", "binary"])
def test_a_qdrant_server_is_asked_to_keep_vectors_small(
    tmp_path: Path, quantization: Literal["scalar", "binary"]
) -> None:
    graph = GraphSettings(quantization=quantization, on_disk=True, search=64)
    qdrant = Qdrant()
    with serving(qdrant.handle) as port:
        store = f"qdrant+http://127.0.0.1:{port}#machines"
        ingest(DOCUMENTS, tmp_path / "ix", IndexSettings(embedder="hash", store=store, graph=graph))
        with closing(Index(tmp_path / "ix")) as index:
            assert len(index.dense("Machine 7", 3)) == 3
        move_index(tmp_path / "ix", f"chroma:{tmp_path}/moved")  # which keeps them as they are
        with closing(Index(tmp_path / "ix")) as index:
            assert len(index.dense("Machine 7", 3)) == 3
            assert index.settings.graph == GraphSettings(search=64)
    made = qdrant.created["machines"].model_dump(exclude_none=True)
    assert made["vectors"]["on_disk"] is True
    assert made["quantization_config"][quantization]["always_ram"] is True
    asked = qdrant.asked[-1].params
    assert asked is not None
    assert asked.hnsw_ef == 64
    assert asked.quantization is not None
    assert (asked.quantization.rescore, asked.quantization.oversampling) == (True, 2.0)


@pytest.mark.parametrize("store", ["", "qdrant:somewhere", "weaviate+http://127.0.0.1:1"])
@pytest.mark.parametrize("graph", [{"quantization": "scalar"}, {"on_disk": True}])
def test_other_stores_cannot_and_say_so(store: str, graph: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Qdrant server"):
        IndexSettings(embedder="hash", store=store, graph=GraphSettings(**graph))
