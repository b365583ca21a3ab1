"""Copying between stores: byte-equal, resumable, proven, without embedding anything."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest

from ragwright.retrievers import migrate, proof
from ragwright.retrievers.embedding import EncodedTexts, HashEmbedder
from ragwright.retrievers.errors import DamagedStore, IndexFault, InputError
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.migrate import copy_collection, move_index
from ragwright.retrievers.parquet import export_rows, import_rows
from ragwright.retrievers.read_parts import ReadParts
from ragwright.retrievers.stores.base import StoreRow, StoreURL
from ragwright.retrievers.stores.opening import open_store, store_of_index
from ragwright.retrievers.types import Document, Scalar
from ragwright.retrievers.upkeep import repair, verify
from tests.retrievers.conftest import SETTINGS, lands

PASSAGES = 500
MEMORY = Path("/dev/shm")


def documents() -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for number in range(PASSAGES):
        words = " ".join(f"w{word}" for word in drawn.integers(0, 900, 8))
        facts: dict[str, Scalar] = {
            "number": number,
            "half": number / 2,
            "even": number % 2 == 0,
            "né": "ü\n😀",
        }
        yield Document(f"d{number}", words, f"Title {number}", facts)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrate") / "index"
    ingest(documents(), folder, SETTINGS)
    return folder


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The URL of an embedded Qdrant, in memory where there is such a folder."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield f"qdrant:{folder}/copy"


def rows(url: str) -> dict[str, StoreRow]:
    with closing(open_store(StoreURL.parse(url), dimension=None)) as store:
        return store.fetch(list(store.ids()))


def test_there_and_back_again(
    source: Path, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(HashEmbedder, "encode")
    first, last = f"chroma:{source}/chroma", f"chroma:{tmp_path}/back"
    for report in (copy_collection(first, elsewhere), copy_collection(elsewhere, last)):
        assert (report.rows, report.target_rows, report.copied) == (PASSAGES, PASSAGES, PASSAGES)
        assert report.checksums[0] == report.checksums[1] != ""
        assert report.overlap == (1.0, 1.0)
        assert report.rank_correlation == pytest.approx(1.0)
        assert report.vector_error <= 1e-6
    before, after = rows(first), rows(last)
    assert before.keys() == after.keys()
    for id, row in before.items():
        assert (row.text, list(row.metadata.items())) == (
            after[id].text,
            [(key, after[id].metadata[key]) for key in row.metadata],
        )
        assert np.abs(row.vector - after[id].vector).max() <= 1e-6


def test_a_copy_cut_short_goes_on_where_it_stopped(
    source: Path, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PAGE", 100)
    monkeypatch.setattr(proof, "PAGE", 100)

    def stop(seen: int, total: int) -> None:
        assert total == PASSAGES
        if seen >= 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_collection(f"chroma:{source}/chroma", elsewhere, progress=stop)
    with pytest.raises(IndexFault, match="does not hold all its vectors yet"):
        copy_collection(elsewhere, f"chroma:{tmp_path}/further")
    with closing(open_store(StoreURL.parse(elsewhere), dimension=64)) as half:
        extra = np.ones((1, 64), dtype=np.float32)
        half.upsert(["f" * 32], extra, ["not of the source"], [{"n": 1}])
    report = copy_collection(f"chroma:{source}/chroma", elsewhere)
    assert (report.copied, report.kept, report.removed) == (PASSAGES - 300, 300, 1)
    assert set(rows(elsewhere)) == set(rows(f"chroma:{source}/chroma"))


def test_a_wrong_row_in_the_target_is_not_passed_over(source: Path, elsewhere: str) -> None:
    copy_collection(f"chroma:{source}/chroma", elsewhere)
    with closing(open_store(StoreURL.parse(elsewhere), dimension=64)) as target:
        id = next(target.ids())
        row = target.fetch([id])[id]
        target.upsert([id], row.vector[None, :], ["changed"], [row.metadata])
    with pytest.raises(IndexFault, match="differs from its source"):
        copy_collection(f"chroma:{source}/chroma", elsewhere)


def test_a_damaged_source_is_named_and_moves_once_it_is_whole(tmp_path: Path) -> None:
    folder, target = tmp_path / "index", f"chroma:{tmp_path}/elsewhere"
    many = [Document(f"{number}", f"Number {number}.") for number in range(1100)]
    ingest(many, folder, SETTINGS)
    (graph,) = (path for path in (folder / "chroma").iterdir() if path.is_dir())
    os.truncate(graph / "header.bin", 0)
    with pytest.raises(DamagedStore, match="rag index repair"):
        move_index(folder, target)
    assert repair(folder).written == len(many)
    assert move_index(folder, target).copied == len(many)
    assert verify(folder).sound


def test_an_index_moves_and_its_readers_follow(tmp_path: Path, elsewhere: str) -> None:
    folder = tmp_path / "index"
    ingest(documents(), folder, SETTINGS)
    reader = open_index(folder)
    wanted, fingerprint = reader.dense("w1 w2 w3", 5), reader.fingerprint
    move_index(folder, elsewhere)
    assert reader.dense("w1 w2 w3", 5) == pytest.approx(wanted, abs=1e-5)
    assert reader.settings.store == elsewhere
    assert reader.fingerprint == fingerprint
    assert verify(folder).sound
    moved = SETTINGS.model_copy(update={"store": elsewhere})
    assert ingest(documents(), folder, moved).unchanged == PASSAGES
    with pytest.raises(IndexFault, match="rag index copy"):
        ingest(documents(), folder, SETTINGS)


def test_an_index_that_moves_while_a_question_is_encoded_is_asked_where_it_is(
    elsewhere: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(documents(), path, SETTINGS)
    reader = open_index(path)
    wanted, encoded = reader.dense("w1 w2 w3", 5), reader._encoded

    def moved(query: str) -> EncodedTexts:
        move_index(path, elsewhere)
        # As a question of another thread does, it opens the new store and closes the old one.
        reader.keyword(query, 1)
        return encoded(query)

    monkeypatch.setattr(reader, "_encoded", moved)
    assert reader.dense("w1 w2 w3", 5) == pytest.approx(wanted, abs=1e-5)


def test_a_store_of_another_index_is_refused(source: Path, tmp_path: Path) -> None:
    shared = SETTINGS.model_copy(update={"store": f"chroma:{source}/chroma"})
    with pytest.raises(IndexFault, match="the vectors of another index"):
        ingest(documents(), tmp_path / "other", shared)
    ingest(documents(), tmp_path / "third", SETTINGS)
    with pytest.raises(IndexFault, match="holds another index's vectors"):
        copy_collection(f"chroma:{source}/chroma", f"chroma:{tmp_path}/third/chroma")
    with closing(Index(source)) as index:
        assert index.count == PASSAGES


@pytest.mark.parametrize("url", ["", "chroma", "milvus://x", "chroma+ftp://x", "pinecone+http://x"])
def test_a_wrong_url_is_refused(url: str, source: Path) -> None:
    with pytest.raises(InputError, match="names no vector store"):
        copy_collection(f"chroma:{source}/chroma", url)


@pytest.mark.parametrize(
    ("url", "address", "collection"),
    [
        ("chroma:/c#/db", "/c#/db", "passages"),
        ("chroma:/c#/db#docs", "/c#/db", "docs"),
        ("chroma:/a#b/c#/db:", "/a#b/c#/db:", "passages"),
        ("chroma:/db#docs", "/db", "docs"),
        ("pinecone:index#team/docs", "index", "team/docs"),
    ],
)
def test_a_path_may_hold_the_sign_before_a_collection(
    url: str, address: str, collection: str
) -> None:
    place = StoreURL.parse(url)
    assert (place.address, place.collection) == (address, collection)
    assert StoreURL.parse(str(place)) == place


def test_an_index_is_moved_into_a_folder_of_any_name(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c#"
    shutil.copytree(source, folder / "index")
    move_index(folder / "index", f"chroma:{folder}/vectors")
    with closing(Index(folder / "index")) as index:
        assert len(index.dense("w1 w2", 3)) == 3


def test_a_search_meanwhile_asks_the_store_before_or_the_one_after(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(source, tmp_path / "index")
    with closing(Index(tmp_path / "index")) as index:
        before, met = index._parts.store, []

        def asked_meanwhile(*args: Any, **named: Any) -> Any:
            met.append(index._parts.store)
            return store_of_index(*args, **named)

        monkeypatch.setattr(f"{ReadParts.__module__}.store_of_index", asked_meanwhile)
        move_index(tmp_path / "index", f"chroma:{tmp_path}/moved")
        assert len(index.dense("w1 w2", 3)) == 3
        assert met == [before] != [index._parts.store]


def somebodys(folder: Path) -> str:
    """The URL of a Chroma collection that no index made, with a graph on disk, of 16 dimensions."""
    client = chromadb.PersistentClient(str(folder))
    graph: Any = {"space": "cosine", "sync_threshold": 4, "batch_size": 4}
    made = client.create_collection("docs", embedding_function=None, configuration={"hnsw": graph})
    vectors = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    made.add(ids=list("abcdefgh"), embeddings=vectors, documents=["theirs"] * 8)
    client.close()
    return f"chroma:{folder}#docs"


def test_somebody_elses_rows_are_neither_mixed_with_ours_nor_deleted(
    source: Path, tmp_path: Path
) -> None:
    file, place = tmp_path / "rows.parquet", somebodys(tmp_path / "theirs")
    export_rows(StoreURL.parse(f"chroma:{source}/chroma"), file)
    told = SETTINGS.model_copy(update={"store": place})
    ways: list[Callable[[], object]] = [
        lambda: copy_collection(f"chroma:{source}/chroma", place),
        lambda: import_rows(file, StoreURL.parse(place)),
        lambda: ingest(lands(), tmp_path / "index", told),
        lambda: repair(tmp_path / "index"),
    ]
    for way in ways:
        with pytest.raises(IndexFault, match="rows that no index of ours wrote"):
            way()
        assert set(rows(place)) == set("abcdefgh")


def test_points_with_a_number_are_nobodys_chunks(elsewhere: str, tmp_path: Path) -> None:
    qdrant_client = pytest.importorskip("qdrant_client")
    models, folder = qdrant_client.models, elsewhere.removeprefix("qdrant:")
    told = SETTINGS.model_copy(update={"store": elsewhere})
    point = models.PointStruct(id=7, vector=[0.5] * 64)
    with closing(qdrant_client.QdrantClient(path=folder)) as client:
        size = models.VectorParams(size=64, distance=models.Distance.COSINE)
        client.create_collection("passages", size)
        client.upsert("passages", [point])
    with pytest.raises(IndexFault, match="rows that no index of ours wrote"):
        ingest(lands(), tmp_path / "index", told)
    with closing(qdrant_client.QdrantClient(path=folder)) as client:
        client.delete("passages", [7])
    ingest(lands(), tmp_path / "index", told)
    with closing(qdrant_client.QdrantClient(path=folder)) as client:
        client.upsert("passages", [point])
    assert verify(tmp_path / "index").parts["store"].examples == ["7"]
    assert repair(tmp_path / "index").removed == 1
