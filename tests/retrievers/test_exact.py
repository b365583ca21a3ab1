"""Dense search that compares the vectors themselves: exact, whatever the filter or the texts.

What a plain loop over all vectors finds is right; `tests/reference.py` has it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragwright.retrievers import nearest, own_vectors
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.index import Index, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.own_vectors import OwnVectors
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.stores.chroma import ChromaStore
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import compact, repair, verify
from tests.reference import nearest as plainly
from tests.reference import passes

SETTINGS = IndexSettings(embedder="hash")
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa".split()
COUNT = 600
LIMITS = [4_000_000, 5_000, 0]
"""All few; only what a filter lets through; never few."""


def documents(count: int = COUNT) -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for n in range(count):
        text = " ".join(drawn.choice(WORDS, 6)) + f" {n}"
        yield Document(str(n), text, metadata={"two": n % 2, "ten": n % 10, "n": n})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exact") / "index"
    ingest(documents(), folder, SETTINGS)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Iterator[Path]:
    folder = Path(shutil.copytree(made, tmp_path / "index"))
    yield folder
    close_index(folder)


def vectors_of(index: Index) -> dict[str, Any]:
    ids = [chunk.id for chunk in index.chunks()]
    return index.vectors(ids)


FILTERS = st.one_of(
    st.none(),
    st.builds(lambda n: {"n": n}, st.integers(-1, COUNT)),
    st.builds(lambda n: {"ten": {"$in": [n, n + 1]}}, st.integers(0, 9)),
    st.builds(lambda n: {"two": {"$ne": n}}, st.integers(0, 2)),
    st.builds(lambda a, b: {"n": {"$gte": a, "$lt": b}}, *[st.integers(0, COUNT)] * 2),
    st.builds(lambda a: {"$or": [{"n": a}, {"two": True}]}, st.integers(0, COUNT)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(where=FILTERS, n=st.integers(1, 50), limit=st.sampled_from(LIMITS), word=st.integers(0, 9))
def test_the_nearest_are_those_of_a_plain_loop(
    made: Path, where: dict[str, Any] | None, n: int, limit: int, word: int
) -> None:
    index = open_index(made)
    question = f"{WORDS[word]} {WORDS[(word * 3) % 10]} {n}"
    asked = parse_filter(where)
    facts = {chunk.id: chunk.facts for chunk in index.chunks()}
    among = {
        id: vector
        for id, vector in vectors_of(index).items()
        if asked is None or passes(facts[id], asked)
    }
    wanted = plainly(among, index._encoded(question).vectors[0], n) if among else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "MOST_NUMBERS", limit)
        index._parts._near = None
        found = index.dense(question, n, where)
    index._parts._near = None
    assert list(found.values()) == pytest.approx(list(wanted.values()), abs=1e-5)
    assert set(found) <= among.keys()
    assert len(found) == len(wanted)


def test_true_and_one_are_two_filters(tmp_path: Path) -> None:
    pairs = [("a", True), ("b", 1), ("c", False), ("d", 0.0)]
    ingest(
        [Document(id, f"word {id}", metadata={"k": k}) for id, k in pairs], tmp_path / "i", SETTINGS
    )
    index = open_index(tmp_path / "i")
    for id, value in pairs:
        (passage,) = index.passages(list(index.dense("word", 5, {"k": value})))
        assert passage.document == id
    close_index(tmp_path / "i")


@pytest.mark.parametrize("limit", LIMITS)
def test_many_copies_of_a_text_are_all_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(nearest, "MOST_NUMBERS", limit)
    rows = [Document(str(n), "the same", metadata={"n": n}) for n in range(400)]
    ingest(rows, tmp_path / "i", SETTINGS)
    index = open_index(tmp_path / "i")
    assert len(index.dense("the same", 400)) == 400
    for most in (1, 7, 200):
        assert len(index.dense("the same", 400, {"n": {"$lt": most}})) == most
    close_index(tmp_path / "i")


def test_changes_are_seen_by_an_open_reader(index: Path) -> None:
    reader = open_index(index)
    assert len(reader.dense("alpha", 10, {"ten": 3})) == 10
    kept = [one for one in documents(COUNT + 50) if one.metadata["ten"] != 3]
    ingest(kept, index, SETTINGS)
    assert reader.dense("alpha", 10, {"ten": 3}) == {}
    assert len(reader.dense("alpha", 60, {"n": {"$gte": COUNT}})) == 45
    before = reader.dense("alpha", 500)
    size = (index / own_vectors.NAME).stat().st_size
    compact(index)
    assert (index / own_vectors.NAME).stat().st_size < size
    assert reader.dense("alpha", 500) == before
    assert verify(index).sound


def test_without_its_own_vectors_the_store_answers_until_the_next_ingest(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = open_index(index).dense("alpha beta", 20, {"two": 1})
    close_index(index)
    (index / own_vectors.NAME).unlink()
    asked: list[object] = []
    query = ChromaStore.query

    def noted(*given: Any) -> dict[str, float]:
        asked.append(given)
        return query(*given)

    monkeypatch.setattr(ChromaStore, "query", noted)
    found = open_index(index).dense("alpha beta", 20, {"two": 1})
    assert asked
    assert found == pytest.approx(wanted, abs=1e-5)
    assert ingest(documents(), index, SETTINGS).embedded == 0
    asked.clear()
    again = open_index(index).dense("alpha beta", 20, {"two": 1})
    assert not asked
    assert again == pytest.approx(wanted, abs=1e-5)


def test_a_damaged_vector_is_never_compared_and_is_found_and_repaired(index: Path) -> None:
    wanted = open_index(index).dense("alpha beta", 600)
    close_index(index)
    file = index / own_vectors.NAME
    data = bytearray(file.read_bytes())
    data[-100:] = b"\x7f" * 100
    file.write_bytes(data)
    found = open_index(index).dense("alpha beta", 600)
    assert set(found) <= wanted.keys()
    assert all(found[id] == pytest.approx(wanted[id], abs=1e-5) for id in found)
    assert verify(index).parts["vectors"].wrong == 1
    assert repair(index).written == 1
    assert verify(index).sound
    assert open_index(index).dense("alpha beta", 600) == pytest.approx(wanted, abs=1e-5)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "forget", "cut", "compact", "reload"]), st.integers(0, 99)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_a_file_cut_anywhere_keeps_what_was_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Appending, taking out, compacting and losing the end of the last block, in any order."""
    folder = tmp_path_factory.mktemp("blocks")
    own = OwnVectors(folder, 4)
    held: dict[str, Any] = {}
    drawn = np.random.default_rng(1)
    for step, number in steps:
        ids = [f"{(number * 7 + n) % 40:016x}" * 2 for n in range(number % 5 + 1)]
        before, size = dict(held), own.path.stat().st_size if own.path.exists() else 0
        if step == "add":
            vectors = drawn.standard_normal((len(ids), 4)).astype(np.float32)
            own.append(ids, vectors)
            held |= dict(zip(ids, own_vectors.unit(vectors), strict=True))
        elif step in {"forget", "cut"}:
            own.forget(ids)
            held = {id: one for id, one in held.items() if id not in ids}
        elif step == "compact":
            own.compact()
        if step == "cut" and own.path.exists() and own.path.stat().st_size > size:
            with own.path.open("r+b") as stream:
                stream.truncate(size + number % (own.path.stat().st_size - size))
            own, held = OwnVectors(folder, 4), before
        if step == "reload":
            own = OwnVectors(folder, 4)
        query = np.ones(4, dtype=np.float32)
        found = own.now.nearest(query, 100)
        assert found == pytest.approx(plainly(held, query, 100) if held else {}, abs=1e-5)
