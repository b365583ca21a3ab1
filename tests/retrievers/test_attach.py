"""Collections that other libraries made are searched where they are, and never written.

`owned/collections.zip` was made by langchain-chroma, llama-index-vector-stores-chroma and chromadb
themselves: see `owned/make.py`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.programs import HybridRetriever
from ragwright.retrievers import ChromaRetriever, KeywordRetriever, open_index
from ragwright.retrievers.attach import is_stale, sync
from ragwright.retrievers.embedding import MINILM, HashEmbedder
from ragwright.retrievers.errors import IdentityError, IndexFault, InputError
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.layouts import read_owned_row
from ragwright.retrievers.owned import embedder_named_by
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import verify
from tests.servers.chroma import chroma_server

HASH = "hash:64"
ROWS = {"langchain": 4, "llama_index": 3, "plain": 2}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Path]:
    """A folder of Chroma's, as other libraries left it."""
    folder = tmp_path / "chroma"
    zipfile.ZipFile(Path(__file__).parent / "owned" / "collections.zip").extractall(folder)
    yield folder
    for stamp in tmp_path.rglob("stamp.json"):
        close_index(stamp.parent)


def vectors(*texts: str) -> np.ndarray:
    return HashEmbedder(64).encode(texts).vectors


def client(folder: Path) -> Any:
    return chromadb.PersistentClient(str(folder))


def contents(folder: Path) -> Any:
    """Everything a collection holds and says of itself."""
    with_everything = ["embeddings", "documents", "metadatas"]
    opened = client(folder)
    found = {}
    for one in opened.list_collections():
        rows = one.get(include=with_everything)
        held = [rows[key] for key in ("ids", "documents", "metadatas")]
        found[one.name] = (*held, np.asarray(rows["embeddings"]).tolist(), one.metadata)
    opened.close()
    return found


@pytest.mark.parametrize("name", ROWS)
def test_each_layout_is_searched_in_every_way_and_nothing_is_written(
    made: Path, tmp_path: Path, name: str
) -> None:
    before = contents(made)
    dense = ChromaRetriever.attach(f"chroma:{made}#{name}", tmp_path / "index", embedder=HASH, k=2)
    index = open_index(dense.path)
    assert index.count == ROWS[name]
    for query in ("the tide is high at noon", "The moon pulls the water"):
        for stage in (dense, KeywordRetriever(dense.path), HybridRetriever(dense.path)):
            best = stage(query, k=2).passages[0]
            assert set(query.lower().split()) & set(best.lower().rstrip(".").split())
    scores = dense("The tide is high at noon. Ebb follows").scores
    assert 0.3 < scores[0] <= 1.0001, "cosines, whatever the collection's distance"
    found = index.dense("tide", 10)
    kept = index.vectors(list(found))
    for id, score in found.items():
        unit = kept[id] / np.linalg.norm(kept[id])
        assert score == pytest.approx(float(unit @ vectors("tide")[0]), abs=1e-4)
    assert index.maxsim("tide", list(found))[0] > 0
    assert verify(dense.path).sound
    assert contents(made) == before


def test_langchains_rows_say_their_document_and_place(made: Path, tmp_path: Path) -> None:
    index = open_index(
        ChromaRetriever.attach(f"chroma:{made}#langchain", tmp_path / "i", embedder=HASH).path
    )
    chunks = index.document("tides.md")
    assert [(c.start, c.text) for c in chunks][:2] == [
        (0, "The tide is high at noon."), (26, "Ebb follows within six hours."),
    ]  # fmt: skip
    assert chunks[0].metadata["year"] == 2020
    assert len(set(index.document_ids())) == 2, "the row without metadata is its own document"


def test_llama_indexs_rows_are_embedded_with_their_metadata(made: Path, tmp_path: Path) -> None:
    index = open_index(
        ChromaRetriever.attach(f"chroma:{made}#llama_index", tmp_path / "i", embedder=HASH).path
    )
    assert set(index.document_ids()) == {"tides", "moon"}
    assert "".join(c.text for c in index.document("moon")).startswith("Spring tides")
    metadata = index.document("tides")[0].metadata
    assert metadata == {"file_name": "tides.md", "year": 2020}, "the node itself is left out"


def test_filters_hold_in_every_signal(made: Path, tmp_path: Path) -> None:
    dense = ChromaRetriever.attach(f"chroma:{made}#plain", tmp_path / "i", embedder=HASH)
    for stage in (dense, HybridRetriever(dense.path), KeywordRetriever(dense.path)):
        for where, expected in (
            ({"lang": "de"}, ["two"]),
            ({"start_": {"$gte": 7}}, ["one"]),
            ({"document": "two"}, ["two"]),
            ({"lang": "fr"}, []),
        ):
            found = stage("tide moon tides", where=where)
            assert [passage.document for passage in found] == expected


def test_a_rare_filter_beyond_the_nearest_is_answered_exactly(tmp_path: Path) -> None:
    rows = client(tmp_path / "chroma").create_collection("many", embedding_function=None)
    texts = [f"word{n} tide" for n in range(450)]
    rows.add(ids=[str(n) for n in range(450)], documents=texts, embeddings=vectors(*texts),
             metadatas=[{"n": n} for n in range(450)])  # fmt: skip
    dense = ChromaRetriever.attach(rows, tmp_path / "i", embedder=HASH, tokens=False)
    question = " ".join(f"word{n}" for n in range(200))
    exact = {n: vectors(question)[0] @ vectors(texts[n])[0] for n in (440, 449)}
    found = dense(question, where={"n": {"$in": [440, 449]}})
    assert [p.metadata["n"] for p in found] == sorted(exact, key=lambda n: -exact[n])
    assert found.scores == pytest.approx(sorted(exact.values(), reverse=True), abs=1e-5)


def test_what_the_owner_writes_later_is_followed(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "i"
    dense = ChromaRetriever.attach(f"chroma:{made}#plain", path, embedder=HASH)
    fingerprint = open_index(path).fingerprint
    again = sync(path)
    assert (again.added, again.changed, again.deleted) == (0, 0, 0)
    assert (again.rows, again.without_text) == (3, 1)
    assert open_index(path).fingerprint == fingerprint
    assert not is_stale(path)
    owner = client(made).get_collection("plain", embedding_function=None)
    owner.add(ids=["three"], documents=["Lighthouses blink."],
              embeddings=2 * vectors("Lighthouses blink."))  # fmt: skip
    owner.update(ids=["two"], documents=["Currents are cold."],
                 embeddings=2 * vectors("Currents are cold."))  # fmt: skip
    owner.delete(ids=["one"])
    assert is_stale(path)
    close_index(path)
    assert dense("tide")
    assert "rag index sync" in caplog.text
    done = sync(path)
    assert (done.added, done.changed, done.deleted) == (1, 1, 1)
    assert not is_stale(path)
    for stage in (dense, KeywordRetriever(str(path)), HybridRetriever(str(path))):
        assert stage("currents are cold").passages[0] == "Currents are cold."
        assert {p.document for p in stage("lighthouses blink currents")} <= {"two", "three"}
    assert verify(path).sound
    assert set(open_index(path).document_ids()) == {"two", "three"}


OWNER = """
import chromadb, json, sys
folder, added = sys.argv[1], json.loads(sys.argv[2])
owner = chromadb.PersistentClient(folder).get_collection("plain", embedding_function=None)
owner.delete(ids=["one"])
owner.add(ids=["three"], documents=["Lighthouses blink."], embeddings=added)
"""


def test_what_another_process_writes_is_followed_by_one_that_has_it_open(
    made: Path, tmp_path: Path
) -> None:
    """Chroma's graph is in memory: it lacks what others wrote since, and raised over it."""
    dense = ChromaRetriever.attach(f"chroma:{made}#plain", tmp_path / "i", embedder=HASH)
    assert dense("tide")
    added = json.dumps((2 * vectors("Lighthouses blink.")).tolist())
    subprocess.run([sys.executable, "-c", OWNER, str(made), added], check=True, timeout=120)
    assert dense("tide")
    done = sync(tmp_path / "i")
    assert (done.added, done.deleted) == (1, 1)
    assert dense("lighthouses blink").passages[0] == "Lighthouses blink."


def test_an_embedder_that_is_not_theirs_is_refused_by_its_figures(
    made: Path, tmp_path: Path
) -> None:
    with pytest.raises(IdentityError, match=r"have 64 dimensions, those of 'hash:32' have 32"):
        ChromaRetriever.attach(f"chroma:{made}#plain", tmp_path / "i", embedder="hash:32")
    rows = client(made).create_collection("noise", embedding_function=None)
    rows.add(ids=["a", "b"], documents=["one", "two"], embeddings=vectors("one", "something else"))
    with pytest.raises(IdentityError, match=r"of 2 texts embedded again 1 differ"):
        ChromaRetriever.attach(rows, tmp_path / "i", embedder=HASH)
    with pytest.raises(InputError, match=r"names no embedding function.*embedder="):
        ChromaRetriever.attach(rows, tmp_path / "i")
    assert not (tmp_path / "i" / "stamp.json").exists()


def test_later_rows_of_another_embedder_are_refused(made: Path, tmp_path: Path) -> None:
    ChromaRetriever.attach(f"chroma:{made}#plain", tmp_path / "i", embedder=HASH)
    owner = client(made).get_collection("plain", embedding_function=None)
    owner.add(ids=["three"], documents=["new"], embeddings=vectors("another text"))
    with pytest.raises(IdentityError, match="1 texts embedded again 1 differ"):
        sync(tmp_path / "i")


def test_the_same_text_twice_is_found_once_and_lost_with_the_last(tmp_path: Path) -> None:
    rows = client(tmp_path / "c").create_collection("twice", embedding_function=None)
    source = {"source": "a", "start_index": 0}
    rows.add(ids=["x", "y", "z"], documents=["tide", "tide", "ebb"],
             embeddings=vectors("tide", "tide", "ebb"), metadatas=[source] * 3)  # fmt: skip
    dense = ChromaRetriever.attach(rows, tmp_path / "i", embedder=HASH)
    assert list(dense("tide").passages) == ["tide", "ebb"]
    rows.delete(ids=["x"])
    sync(tmp_path / "i")
    assert list(dense("tide").passages) == ["tide", "ebb"]
    rows.delete(ids=["y"])
    sync(tmp_path / "i")
    assert list(dense("tide").passages) == ["ebb"]


def test_a_damaged_table_of_rows_is_named_and_made_anew(tmp_path: Path) -> None:
    rows = client(tmp_path / "c").create_collection("rows", embedding_function=None)
    rows.add(ids=["x", "y"], documents=["tide", "ebb"], embeddings=vectors("tide", "ebb"))
    dense = ChromaRetriever.attach(rows, tmp_path / "i", embedder=HASH)
    assert len(dense("tide")) == 2
    close_index(tmp_path / "i")
    table = tmp_path / "i" / "rows.sqlite"
    whole = table.read_bytes()
    for damaged in (b"none" * 4000, whole[:4096] + b"\xff" * (len(whole) - 4096)):
        table.write_bytes(damaged)
        for way in (lambda: dense("tide"), lambda: sync(tmp_path / "i")):
            with pytest.raises(IndexFault, match=r"rows\.sqlite' cannot be used.*`rag index sync"):
                way()
    table.unlink()
    assert sync(tmp_path / "i").added == 2
    assert len(dense("tide")) == 2


def test_what_cannot_be_attached_is_said(made: Path, tmp_path: Path) -> None:
    memory = chromadb.EphemeralClient().get_or_create_collection("kept", embedding_function=None)
    empty = client(made).create_collection("empty", embedding_function=None)
    for source, kind, words in (
        (memory, InputError, "memory of this process"),
        (object(), InputError, "object is no collection"),
        ("weaviate+http://there", InputError, "cannot be attached yet"),
        (f"chroma:{made}#plian", IndexFault, "there are 'empty', 'langchain', 'llama_index'"),
        (f"chroma:{tmp_path / 'none'}#plain", IndexFault, "no Chroma in the folder"),
        (empty, IndexFault, "holds no texts"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            ChromaRetriever.attach(source, tmp_path / "i", embedder=HASH)
    assert not (tmp_path / "none").exists(), "Chroma would make the folder"


def test_a_collection_in_the_place_of_a_folder_names_attach(made: Path, tmp_path: Path) -> None:
    rows = client(made).get_collection("plain", embedding_function=None)
    for use in (ChromaRetriever, KeywordRetriever, HybridRetriever, open_index):
        for wrong in (rows, f"chroma:{made}#plain", "chroma+http://localhost:8000"):
            with pytest.raises(InputError, match=r"ChromaRetriever\.attach"):
                use(wrong)


def test_an_attached_index_is_not_ingested_into(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "i"
    ChromaRetriever.attach(f"chroma:{made}#plain", path, embedder=HASH)
    settings = IndexSettings(embedder=HASH)
    with pytest.raises(IdentityError, match="rag index sync"):
        ingest([Document("a", "text")], path, settings)
    with pytest.raises(IndexFault, match="does not belong to the collection"):
        ChromaRetriever.attach(f"chroma:{made}#langchain", path, embedder=HASH)
    ingest([Document("a", "text")], tmp_path / "own", settings)
    with pytest.raises(InputError, match="not attached"):
        sync(tmp_path / "own")


def test_the_commands(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "i"
    run = CliRunner().invoke
    source = f"chroma:{made}#langchain"
    refused = run(app, ["index", "attach", source, str(path)])
    assert refused.exit_code == 2 or isinstance(refused.exception, InputError)
    done = run(app, ["index", "attach", source, str(path), "--embedder", HASH, "--json"])
    assert json.loads(done.stdout)["added"] == 4
    done = run(app, ["index", "sync", str(path), "--json"])
    assert json.loads(done.stdout)["added"] == 0
    assert run(app, ["index", "verify", str(path)]).exit_code == 0
    assert run(app, ["index", "repair", str(path)]).exit_code == 0


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ({"name": "default", "config": {}}, MINILM),
        ({"name": "sentence_transformer", "config": {"model_name": "all-MiniLM-L6-v2"}}, MINILM),
        ({"name": "sentence_transformer", "config": {"model_name": "BAAI/bge-m3"}}, "BAAI/bge-m3"),
        ({"name": "openai", "config": {"model_name": "ada"}}, "litellm:openai/ada"),
        ({"name": "sentence_transformer", "config": {"model_name": "os:system"}}, None),
        ({"name": "openai", "config": None}, None),
        ({"type": "legacy"}, None),
    ],
)
def test_the_embedder_is_the_one_that_the_configuration_names(
    function: dict[str, Any], expected: str | None
) -> None:
    place = StoreURL.parse("chroma:db#rows")
    if expected is not None:
        assert embedder_named_by(function, place) == expected
        return
    with pytest.raises(InputError, match="embedder="):
        embedder_named_by(function, place)


@pytest.mark.parametrize(
    ("text", "metadata", "expected"),
    [
        ("", {"page_content": "there"}, "there"),
        ("", {"_node_content": '{"text": "in the node"}'}, "in the node"),
        ("kept", {"_node_content": "{broken"}, "kept"),
        ("kept", {"_node_content": "[" * 5000}, "kept"),
        (" \n", {}, None),
        ("", {"n": 1}, None),
    ],
)
def test_texts_are_found_where_libraries_put_them(
    text: str, metadata: dict[str, Any], expected: str | None
) -> None:
    row = read_owned_row("id", text, metadata)
    assert (row.text if row else None) == expected


def test_a_template_of_a_collection_is_no_format_of_ours() -> None:
    node = {"metadata": {"a": "b"}, "text_template": "{metadata_str.__class__}{content}"}
    row = read_owned_row("id", "text", {"_node_content": json.dumps(node)})
    assert row is not None
    assert row.embedded == ("text", "{metadata_str.__class__}text")


def test_a_collection_on_a_server(made: Path, tmp_path: Path) -> None:
    with chroma_server(made) as (port, _):
        rows = chromadb.HttpClient("127.0.0.1", port).get_collection("langchain")
        dense = ChromaRetriever.attach(rows, tmp_path / "i", embedder=HASH)
        assert dense("the tide is high at noon").passages[0] == "The tide is high at noon."
        rows.delete(where={"start_index": 0})
        assert is_stale(dense.path)
        again = ChromaRetriever.attach(
            f"chroma+http://127.0.0.1:{port}#langchain", tmp_path / "i", embedder=HASH
        )
        assert "high" not in again("the tide is high at noon").passages[0]
