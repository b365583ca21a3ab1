"""Qdrant collections in the layouts of other libraries are searched and never written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.programs import HybridRetriever
from ragwright.retrievers import ChromaRetriever, KeywordRetriever, open_index
from ragwright.retrievers.attach import is_stale, sync
from ragwright.retrievers.embedding import HashEmbedder
from ragwright.retrievers.errors import IdentityError, IndexFault, InputError
from ragwright.retrievers.index import close_index
from ragwright.retrievers.upkeep import verify
from tests.servers.qdrant import qdrant_server

qdrant_client = pytest.importorskip("qdrant_client")
models = qdrant_client.models

HASH = "hash:64"
TEXTS = ("The tide is high at noon.", "Lighthouses blink at night.", "The moon pulls the water.")
FILES = ("tides.md", "lights.md", "tides.md")


def langchain(number: int) -> dict[str, Any]:
    return {"page_content": TEXTS[number], "metadata": {"source": FILES[number], "year": number}}


def llama_index(number: int) -> dict[str, Any]:
    node = {"text": TEXTS[number], "metadata": {}, "start_char_idx": 100 * number}
    return {"_node_content": json.dumps(node), "_node_type": "TextNode", "year": number,
            "ref_doc_id": FILES[number], "document_id": FILES[number]}  # fmt: skip


def fastembed(number: int) -> dict[str, Any]:
    return {"document": TEXTS[number], "source": FILES[number], "year": number}


def plain(number: int) -> dict[str, Any]:
    return {"text": TEXTS[number], "source": FILES[number], "year": number, "odd": {"a": [1, "b"]}}


LAYOUTS = (langchain, llama_index, fastembed, plain)
DISTANCES = ("Cosine", "Dot", "Euclid")


def vectors(texts: Sequence[str]) -> Any:
    return 2 * HashEmbedder(64).encode(texts).vectors


def filled(
    folder: Path, layout: Callable[[int], dict[str, Any]], *, distance: str = "Cosine",
    named: str = "",
) -> None:  # fmt: skip
    client = qdrant_client.QdrantClient(path=str(folder))
    fill(client, layout, distance=distance, named=named)
    client.close()


def fill(
    client: Any, layout: Callable[[int], dict[str, Any]], *, distance: str = "Cosine",
    named: str = "",
) -> None:  # fmt: skip
    params = models.VectorParams(size=64, distance=models.Distance(distance))
    client.create_collection("notes", vectors_config={named: params} if named else params)
    made = vectors(TEXTS).tolist()
    ids = (7, str(uuid.UUID(int=1)), 9)
    client.upsert("notes", points=[
        models.PointStruct(id=ids[n], payload=layout(n),
                           vector={named: made[n]} if named else made[n])
        for n in range(len(TEXTS))
    ])  # fmt: skip


def contents(folder: Path) -> list[Any]:
    client = qdrant_client.QdrantClient(path=str(folder))
    points, _ = client.scroll("notes", with_vectors=True)
    names = [one.name for one in client.get_collections().collections]
    client.close()
    return [names, sorted((str(point.id), str(point.payload), point.vector) for point in points)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "qdrant"
    for stamp in tmp_path.rglob("stamp.json"):
        close_index(stamp.parent)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_each_layout_is_searched_in_every_way_and_nothing_is_written(
    place: Path, tmp_path: Path, layout: Callable[[int], dict[str, Any]], distance: str
) -> None:
    filled(place, layout, distance=distance, named="text-dense" if layout is llama_index else "")
    before = contents(place)
    path = str(tmp_path / "i")
    dense = ChromaRetriever.attach(f"qdrant:{place}#notes", path, embedder=HASH, k=2)
    index = open_index(path)
    assert index.count == len(TEXTS)
    for stage in (dense, KeywordRetriever(path), HybridRetriever(path)):
        assert stage("lighthouses at night").passages[0] == TEXTS[1]
        assert {p.document for p in stage("tide water", where={"source": "tides.md"})} <= {
            "tides.md"
        }
        assert [p.metadata["year"] for p in stage("tide moon", where={"year": {"$gte": 2}})] == [2]
    for id, score in index.dense("tide", 10).items():
        unit = index.vectors([id])[id]
        wanted = unit / np.linalg.norm(unit) @ vectors(["tide"])[0] / 2
        assert score == pytest.approx(float(wanted), abs=1e-4)
    assert set(index.document_ids()) == set(FILES)
    assert verify(path).sound
    close_index(path)
    assert contents(place) == before


def test_what_the_owner_writes_later_is_followed(place: Path, tmp_path: Path) -> None:
    filled(place, langchain)
    path = tmp_path / "i"
    dense = ChromaRetriever.attach(f"qdrant:{place}#notes", path, embedder=HASH)
    assert not is_stale(path)
    close_index(path)
    client = qdrant_client.QdrantClient(path=str(place))
    client.upsert("notes", points=[models.PointStruct(
        id=11, vector=vectors(["Herring swim."])[0].tolist(),
        payload={"page_content": "Herring swim.", "metadata": {}})])  # fmt: skip
    client.delete("notes", points_selector=[7])
    client.close()
    assert is_stale(path)
    done = sync(path)
    assert (done.added, done.changed, done.deleted) == (1, 0, 1)
    assert not is_stale(path)
    assert dense("herring swim").passages[0] == "Herring swim."
    assert TEXTS[0] not in dense("the tide is high", k=5).passages


def test_a_collection_of_a_server_is_searched_there(
    tmp_path: Path,
) -> None:
    with qdrant_server() as port:
        client = qdrant_client.QdrantClient(
            url=f"http://127.0.0.1:{port}", check_compatibility=False
        )
        fill(client, langchain)
        url, path = f"qdrant+http://127.0.0.1:{port}#notes", tmp_path / "i"
        dense = ChromaRetriever.attach(url, path, embedder=HASH)
        assert dense("lighthouses at night").passages[0] == TEXTS[1]
        assert not is_stale(path)
        client.delete("notes", points_selector=[7])
        assert is_stale(path)
        assert sync(path).deleted == 1
        client.close()
        close_index(path)


def test_what_cannot_be_attached_says_why(place: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    with pytest.raises(IndexFault, match="no Qdrant in the folder"):
        ChromaRetriever.attach(f"qdrant:{place}#notes", index, embedder=HASH)
    filled(place, langchain)
    with pytest.raises(IndexFault, match=r"no collection 'note' .* there is 'notes'"):
        ChromaRetriever.attach(f"qdrant:{place}#note", index, embedder=HASH)
    with pytest.raises(InputError, match=r"names no embedding function"):
        ChromaRetriever.attach(f"qdrant:{place}#notes", index)
    with pytest.raises(IdentityError, match=r"have 64 dimensions, those of 'hash:32' have 32"):
        ChromaRetriever.attach(f"qdrant:{place}#notes", index, embedder="hash:32")
    client = qdrant_client.QdrantClient(path=str(place))
    size = models.VectorParams(size=64, distance=models.Distance.COSINE)
    client.create_collection("two", vectors_config={"a": size, "b": size})
    far = models.VectorParams(size=64, distance=models.Distance.MANHATTAN)
    client.create_collection("far", vectors_config=far)
    client.close()
    with pytest.raises(InputError, match="vectors called 'a', 'b'"):
        ChromaRetriever.attach(f"qdrant:{place}#two", index, embedder=HASH)
    with pytest.raises(InputError, match="the distance 'Manhattan'"):
        ChromaRetriever.attach(f"qdrant:{place}#far", index, embedder=HASH)
    assert not (index / "stamp.json").exists()
