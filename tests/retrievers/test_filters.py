"""The filter language as a pure function."""

from __future__ import annotations

from typing import Any

import pytest

from retrievers.errors import InputError
from retrievers.filters import matches

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
    {"missing": 1},
    {"missing": {"$gt": 1}},
    {"missing": {"$in": [1]}},
    {"$and": [{"year": 2020}, {"lang": "de"}]},
    {"$or": [{"year": 1999}, {"lang": "de"}]},
]


@pytest.mark.parametrize("where", HOLD, ids=str)
def test_a_filter_holds(where: dict[str, Any]) -> None:
    assert matches(FACTS, where)


@pytest.mark.parametrize("where", FAIL, ids=str)
def test_a_filter_fails(where: dict[str, Any]) -> None:
    assert not matches(FACTS, where)


@pytest.mark.parametrize("where", [{"year": {"$near": 1}}, {"$not": []}], ids=str)
def test_an_unknown_operator_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Unknown filter operator"):
        matches(FACTS, where)
