"""The filter language: what it means, in plain Python and in the keyword index."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.filters import ORDERED, Condition, Junction, parse_filter
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.keyword_filter import metadata_terms
from ragwright.retrievers.metadata import normalize_metadata
from ragwright.retrievers.narrowing import narrowing
from ragwright.retrievers.types import Document
from tests.reference import passes
from tests.retrievers.conftest import SETTINGS

FACTS: dict[str, Any] = {"year": 2020, "price": 1.5, "lang": "en", "draft": False}

HOLD: list[dict[str, Any]] = [
    {"year": 2020},
    {"year": {"$eq": 2020}},
    {"year": {"$ne": 2019}},
    {"year": {"$gt": 2019}},
    {"year": {"$gte": 2020}},
    {"year": {"$lt": 2021}},
    {"year": {"$lte": 2020}},
    {"price": {"$gt": 1}},
    {"lang": {"$in": ["de", "en"]}},
    {"lang": {"$nin": ["de", "fr"]}},
    {"draft": False},
    {"draft": {"$ne": 0}},
    {"year": 2020.0},
    {"missing": {"$ne": 1}},
    {"missing": {"$nin": [1]}},
    {"$and": [{"year": 2020}, {"lang": "en"}]},
    {"$or": [{"year": 1999}, {"lang": "en"}]},
    {"$and": [{"$or": [{"year": 1999}, {"lang": "en"}]}, {"price": {"$lt": 2}}]},
]
FAIL: list[dict[str, Any]] = [
    {"year": 2019},
    {"year": {"$ne": 2020}},
    {"year": {"$gt": 2020}},
    {"year": {"$gte": 2021}},
    {"year": {"$lt": 2020}},
    {"year": {"$lte": 2019}},
    {"lang": {"$in": ["de"]}},
    {"lang": {"$nin": ["en"]}},
    {"lang": {"$gt": 1}},
    {"draft": 0},
    {"draft": {"$lt": 1}},
    {"year": "2020"},
    {"missing": 1},
    {"missing": {"$gt": 1}},
    {"missing": {"$in": [1]}},
    {"$and": [{"year": 2020}, {"lang": "de"}]},
    {"$or": [{"year": 1999}, {"lang": "de"}]},
]


KEYWORD_TEXT = "word"


def keyword_passes(folder: Path, where: dict[str, Any]) -> bool:
    index = KeywordIndex(folder, create=True)
    index.write([("a", KEYWORD_TEXT, FACTS)])
    return "a" in index.query(KEYWORD_TEXT, 1, parse_filter(where))


@pytest.mark.parametrize("where", HOLD, ids=str)
def test_a_filter_holds(where: dict[str, Any], tmp_path: Path) -> None:
    asked = parse_filter(where)
    assert asked
    assert passes(FACTS, asked)
    assert keyword_passes(tmp_path, where)


MOMENT = datetime(2025, 2, 3, 11, 45, tzinfo=UTC)
SPELLINGS: list[Any] = [
    "2025-02-03T11:45:00Z", "2025-02-03T11:45:00+00:00", "2025-02-03 12:45+01:00",
    "2025-02-03T11:45", "2025-02-03T11:45:00.000", MOMENT, MOMENT.replace(tzinfo=None),
]  # fmt: skip


@pytest.mark.parametrize("other", SPELLINGS, ids=str)
def test_dates_are_compared_by_time_however_they_are_written(tmp_path: Path, other: Any) -> None:
    with closing(KeywordIndex(tmp_path, create=True)) as index:
        stored = [normalize_metadata({"when": one}, "a row") for one in SPELLINGS]
        index.write((f"{n:032x}", KEYWORD_TEXT, facts) for n, facts in enumerate(stored))
        index.write([("f" * 32, KEYWORD_TEXT, {"when": "2025-02-04"})])

        def found(where: dict[str, Any]) -> int:
            return len(index.query(KEYWORD_TEXT, 20, parse_filter(where)))

        every = len(SPELLINGS)
        assert found({"when": other}) == every
        assert found({"when": {"$in": [other, "2025-02-04"]}}) == every + 1
        assert [found({"when": {"$ne": other}}), found({"when": {"$nin": [other]}})] == [1, 1]


@pytest.mark.parametrize("where", FAIL, ids=str)
def test_a_filter_fails(where: dict[str, Any], tmp_path: Path) -> None:
    asked = parse_filter(where)
    assert asked
    assert not passes(FACTS, asked)
    assert not keyword_passes(tmp_path, where)


def test_side_by_side_means_and() -> None:
    parts = (Condition("year", "$gt", (1,)), Condition("year", "$lt", (3,)))
    assert parse_filter({"year": {"$gt": 1, "$lt": 3}}) == Junction("$and", parts)
    assert parse_filter({"$and": [{"year": {"$gt": 1}}, {"year": {"$lt": 3}}]}) == Junction(
        "$and", parts
    )
    assert parse_filter({"$or": [{"year": {"$gt": 1}}]}) == parts[0]
    assert parse_filter({}) is None
    assert parse_filter(None) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"year": {"$near": 1}}, "Unknown filter operator '\\$near'"),
    ({"$not": []}, "Unknown filter operator '\\$not'"),
    ({"lang": {"$gt": "a"}}, "takes a number, not 'a'"),
    ({"draft": {"$lt": True}}, "takes a number, not True"),
    ({"lang": {"$in": []}}, "takes a list of values"),
    ({"lang": {"$in": "en"}}, "takes a list of values, not 'en'"),
    ({"lang": {"$in": [1, "1"]}}, "mixes kinds"),
    ({"lang": None}, "not None"),
    ({"lang": {}}, "is empty"),
    ({"$and": []}, "takes a list of filters"),
    ({"$or": [{}]}, "takes a list of filters"),
]


@pytest.mark.parametrize(("where", "reason"), WRONG, ids=str)
def test_a_wrong_filter_is_refused(where: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_filter(where)


NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)


KEPT = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


@given(st.lists(KEPT, min_size=1, max_size=12), st.sampled_from(sorted(ORDERED)), st.data())
@settings(max_examples=20, deadline=None)
def test_ranges_of_the_keyword_index_hold_what_comparing_does(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[float],
    operator: str,
    data: st.DataObject,
) -> None:
    bound = data.draw(st.sampled_from(numbers) | KEPT)
    compare = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}[operator]
    with closing(KeywordIndex(tmp_path_factory.mktemp("keyword"), create=True)) as index:
        index.write((str(n), "text", {"n": number}) for n, number in enumerate(numbers))
        asked = parse_filter({"n": {operator: bound}})
        assert asked
        expected = {str(n) for n, number in enumerate(numbers) if compare(number, bound)}
        assert index.passing(None, asked) == expected


@given(NUMBERS, NUMBERS)
def test_number_terms_have_the_order_of_numbers(one: float, other: float) -> None:
    (low, high) = (metadata_terms({"n": value})[0] for value in (one, other))
    assert (low < high) == (one < other)
    assert (low == high) == (one == other)


def test_a_filter_of_another_kind_does_not_widen_that_of_a_block(path: Path) -> None:
    seen: list[Any] = [1, True, 2]
    ingest(
        [Document(f"d{one}", f"word {one}", metadata={"team": one}) for one in seen], path, SETTINGS
    )
    with narrowing({"team": 1}):
        for asked, held in ((None, ["1"]), (1, ["1"]), (1.0, ["1"]), (True, [])):
            where = None if asked is None else {"team": asked}
            found = ChromaRetriever(path)("word", where=where).metadata
            assert [repr(facts["team"]) for facts in found] == held


def test_dates_among_other_texts_are_compared_by_time(path: Path) -> None:
    when = ["2024-01-01", "2024-01-01T00:00:00Z", "unknown", "2025-01-01"]
    ingest([Document(str(n), f"word {n}", metadata={"d": d}) for n, d in enumerate(when)], path,
           SETTINGS)  # fmt: skip
    with closing(Index(path)) as index:
        for sign, held in (("$in", "012"), ("$nin", "3")):
            where = {"d": {sign: ["2024-01-01", "unknown"]}}
            for found in (index.keyword("word", 9, where), index.dense("word", 9, where)):
                names = sorted(passage.document for passage in index.passages(list(found)))
                assert "".join(names) == held
