"""Every vector store keeps the same contract; each test runs on each of them.

Chroma (embedded and server) and Qdrant embedded are the real ones. Qdrant's server, Weaviate and
Pinecone are servers of ours that speak their protocol: see `tests/servers`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.stamp import claim_store
from ragwright.retrievers.stores.base import StoreURL, VectorStore
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.types import Metadata, content_hash
from tests.reference import nearest, passes
from tests.servers.ports import free_port
from tests.servers.stores import KINDS, located

D = 16
Locate = Callable[[], StoreURL]


@pytest.fixture(scope="module", params=KINDS)
def locate(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Locate]:
    """Returns the URL of a collection that does not exist yet, at each call another one."""
    number = count()
    with located(request.param, tmp_path_factory.mktemp("store"), D) as place:
        yield lambda: StoreURL.parse(place.format(next(number)))


@pytest.fixture
def store(locate: Locate) -> Iterator[VectorStore]:
    """An empty collection."""
    opened = open_store(locate(), dimension=D, create=True)
    yield opened
    opened.close()


def ids(*numbers: int) -> list[str]:
    return [content_hash(str(number)) for number in numbers]


def vectors(*numbers: int) -> Floats:
    drawn = np.stack([np.random.default_rng(number).standard_normal(D) for number in numbers])
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


FACTS: list[Metadata] = [
    {"year": 2020, "lang": "en", "price": 1.5, "draft": False, "document": "a/b.md"},
    {"year": 2021, "lang": "de", "price": 2.0, "draft": True},
    {"year": 2020.5, "lang": "en", "price": -3},
    {"year": 0, "lang": "", "draft": False},
    {"year": -1, "lang": "fr", "weird key.[x] \u00e9'": "yes"},
    {"lang": "2020"},
    {"year": "2020", "lang": "en"},
    {"year": True, "lang": "en"},
    {"year": 1, "lang": "de", "draft": True},
    {"other": 7},
]
TEXTS = [
    f"Passage {number} \u2014 with a dash, \U0001f600 and\nlines." for number in range(len(FACTS))
]
ALL = list(range(len(FACTS)))


def fill(store: VectorStore) -> None:
    store.upsert(ids(*ALL), vectors(*ALL), TEXTS, FACTS)


def test_what_went_in_comes_out(store: VectorStore) -> None:
    fill(store)
    assert sorted(store.ids()) == sorted(ids(*ALL))
    rows = store.fetch([*ids(*ALL), content_hash("unknown")])
    assert set(rows) == set(ids(*ALL))
    for id, vector, text, facts in zip(ids(*ALL), vectors(*ALL), TEXTS, FACTS, strict=True):
        assert (rows[id].text, dict(rows[id].metadata)) == (text, dict(facts))
        assert [type(value) for value in rows[id].metadata.values()] == [
            type(rows[id].metadata[key]) for key in rows[id].metadata
        ]
        np.testing.assert_allclose(rows[id].vector, vector, atol=1e-6)


def test_a_query_gives_cosines_best_first(store: VectorStore) -> None:
    fill(store)
    (query,) = vectors(99)
    wanted = nearest(dict(zip(ids(*ALL), vectors(*ALL), strict=True)), query, 4)
    found = store.query(query, 4)
    assert list(found) == list(wanted)
    assert list(found.values()) == pytest.approx(list(wanted.values()), abs=1e-5)
    assert len(store.query(query, 1000)) == len(ALL)


def test_rows_without_a_note_are_somebody_elses(store: VectorStore, locate: Locate) -> None:
    note = '{"index": "a", "dimension": 16}'
    fill(store)
    with pytest.raises(IndexFault, match="rows that no index of ours wrote"):
        claim_store(store, locate(), note)
    assert (store.stamp(), len(list(store.ids()))) == ("", len(ALL))
    store.delete(ids(*ALL))
    claim_store(store, locate(), note)
    fill(store)
    claim_store(store, locate(), note)


def test_upserting_again_repeats_nothing(store: VectorStore) -> None:
    fill(store)
    fill(store)
    store.upsert(ids(0), vectors(50), ["new"], [FACTS[0]])
    assert sorted(store.ids()) == sorted(ids(*ALL))
    row = store.fetch(ids(0))[ids(0)[0]]
    assert (row.text, dict(row.metadata)) == ("new", FACTS[0])
    assert next(iter(store.query(vectors(50)[0], 1))) == ids(0)[0]


def test_deleting_forgets_and_unknown_ids_are_no_error(store: VectorStore) -> None:
    store.delete(ids(1))
    fill(store)
    store.delete(ids(1, 2, 77))
    assert sorted(store.ids()) == sorted(ids(*ALL[:1], *ALL[3:]))
    assert not set(ids(1, 2)) & set(store.query(vectors(1)[0], 100))
    assert store.fetch(ids(1, 2)) == {}


def test_an_empty_store_answers(store: VectorStore) -> None:
    assert store.query(vectors(1)[0], 5) == {}
    assert store.query(vectors(1)[0], 5, parse_filter({"year": 2020})) == {}
    assert list(store.ids()) == []
    assert store.fetch(ids(1)) == {}
    store.delete([])
    store.upsert([], vectors(1)[:0], [], [])


def test_more_rows_than_a_call_takes(store: VectorStore) -> None:
    many = range(2300)
    store.upsert(ids(*many), vectors(*many), ["x"] * 2300, [{"n": number} for number in many])
    assert len(list(store.ids())) == len(set(store.ids())) == 2300
    assert set(store.fetch(ids(*many))) == set(ids(*many))
    assert next(iter(store.query(vectors(1234)[0], 1))) == ids(1234)[0]
    store.delete(ids(*many[5:]))
    assert sorted(store.ids()) == sorted(ids(*range(5)))


def test_the_note_stays(locate: Locate) -> None:
    place = locate()
    store = open_store(place, dimension=D, create=True)
    assert store.stamp() == ""
    store.set_stamp('{"model": "a"}')
    fill(store)
    store.set_stamp('{"model": "b"}')
    assert store.stamp() == '{"model": "b"}'
    store.close()
    again = open_store(place, dimension=D)
    assert again.stamp() == '{"model": "b"}'
    assert sorted(again.ids()) == sorted(ids(*ALL))
    again.close()


def test_a_missing_collection_is_an_error_and_is_not_made(locate: Locate) -> None:
    place = locate()
    for _ in range(2):
        with pytest.raises(IndexFault, match="has no collection"):
            open_store(place, dimension=D)


WHERE: list[dict[str, Any]] = [
    {"lang": "en"},
    {"lang": {"$eq": ""}},
    {"year": 2020},
    {"year": 2020.0},
    {"year": "2020"},
    {"year": True},
    {"year": {"$ne": 2020}},
    {"year": {"$ne": "2020"}},
    {"draft": {"$ne": True}},
    {"draft": False},
    {"year": {"$gt": 2020}},
    {"year": {"$gte": 2020}},
    {"year": {"$lt": 1}},
    {"year": {"$lte": 0}},
    {"price": {"$gt": -3}},
    {"price": {"$lte": 1.5}},
    {"lang": {"$in": ["en", "fr"]}},
    {"lang": {"$nin": ["en", "fr"]}},
    {"year": {"$in": [2020, 2020.5, 5]}},
    {"year": {"$nin": [2020, 0]}},
    {"draft": {"$in": [True]}},
    {"draft": {"$nin": [True, False]}},
    {"$and": [{"year": {"$gte": 0}}, {"lang": "en"}]},
    {"$or": [{"year": {"$gte": 2021}}, {"lang": "2020"}]},
    {"$and": [{"$or": [{"lang": "en"}, {"lang": "de"}]}, {"year": {"$gt": 1}}, {"draft": True}]},
    {"year": {"$gt": 0, "$lt": 2021}, "lang": "en"},
    {"missing": 1},
    {"missing": {"$gt": 1}},
    {"missing": {"$ne": 1}},
    {"missing": {"$nin": ["a", "b"]}},
    {"$or": [{"missing": 1}, {"lang": "fr"}]},
    {"$and": [{"missing": {"$ne": 1}}, {"lang": "fr"}]},
    {"document": "a/b.md"},
    {"weird key.[x] \u00e9'": "yes"},
]


@pytest.fixture(scope="module")
def filled(locate: Locate) -> Iterator[VectorStore]:
    """A collection that tests only read."""
    opened = open_store(locate(), dimension=D, create=True)
    fill(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize("where", WHERE, ids=str)
def test_a_filter_finds_the_same_ids_everywhere(filled: VectorStore, where: dict[str, Any]) -> None:
    asked = parse_filter(where)
    assert asked
    (query,) = vectors(99)
    passing = [number for number, facts in enumerate(FACTS) if passes(facts, asked)]
    assert set(filled.query(query, 100, asked)) == set(ids(*passing))
    cut = nearest(dict(zip(ids(*ALL), vectors(*ALL), strict=True)), query, 100)
    best = [id for id in cut if id in ids(*passing)][:2]
    assert list(filled.query(query, 2, asked)) == best


@pytest.fixture(scope="module")
def keyword(tmp_path_factory: pytest.TempPathFactory) -> KeywordIndex:
    index = KeywordIndex(tmp_path_factory.mktemp("keyword"), create=True)
    index.write(zip(ids(*ALL), TEXTS, FACTS, strict=True))
    return index


@pytest.mark.parametrize("where", WHERE, ids=str)
def test_the_keyword_index_filters_alike(keyword: KeywordIndex, where: dict[str, Any]) -> None:
    asked = parse_filter(where)
    assert asked
    passing = [number for number, facts in enumerate(FACTS) if passes(facts, asked)]
    assert set(keyword.query("passage", 100, asked)) == set(ids(*passing))


@pytest.mark.parametrize(
    "url",
    ["chroma+http://127.0.0.1:{}", "qdrant+http://127.0.0.1:{}", "weaviate+http://127.0.0.1:{}"],
)
def test_a_server_that_is_not_there_is_named(url: str) -> None:
    place = StoreURL.parse(url.format(free_port()))
    with pytest.raises(IndexFault, match=re.escape(repr(str(place)))):
        open_store(place, dimension=D)


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("qdrant:x", "qdrant_client"),
        ("weaviate+http://127.0.0.1", "weaviate"),
        ("pinecone:x", "pinecone"),
    ],
)
def test_a_client_that_is_not_installed_is_named_with_its_extra(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    place = StoreURL.parse(url)
    with pytest.raises(IndexFault, match=rf"pip install 'ragwright\[{place.kind}\]'"):
        open_store(place, dimension=D, create=True)


def test_pinecone_without_a_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    with pytest.raises(IndexFault, match="PINECONE_API_KEY is not set"):
        open_store(StoreURL.parse("pinecone:x"), dimension=D)
