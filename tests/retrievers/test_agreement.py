"""Generated metadata and filters: every embedded store and keyword search answer as plain Python.

`make fuzz` runs it, and the tests of reading, with more examples.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.index import Index, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.metadata import add_date_seconds
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Document
from tests.reference import passes

EXAMPLES = int(os.environ.get("RAGWRIGHT_FUZZ", "60"))
NUMBERS: list[Any] = [0, 1, -1, 1.0, 1.5, -2.5, 2**53, 2**53 + 1, 2**62, 1e300, -0.0]
TEXTS = ["", "a", "b", "1", "true", "2024-01-01", "2024-06-01T12:00:00Z", "ä", "a b", '"', "\\"]
VALUES: list[Any] = [*NUMBERS, *TEXTS, True, False]
LISTS: list[Any] = [["a"], ["a", "b"], [1, 2], [1.5, 1.0], [True], ["2024-01-01"]]
KEYS = ["k", "a.b", "with space", "ключ"]
FACTS = [{KEYS[n % 4]: value} for n, value in enumerate([*VALUES, *LISTS] * 4)]
FACTS += [{"k": value, "a.b": other} for value in VALUES for other in (1, "a", ["a"])]


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("qdrant_client")
    root: Path = tmp_path_factory.mktemp("agreement")
    documents = [
        Document(str(n), f"word {n} {n * n}", metadata=facts) for n, facts in enumerate(FACTS)
    ]
    opened = []
    for name, store in (("chroma", ""), ("qdrant", f"qdrant:{root / 'vectors'}")):
        ingest(documents, root / name, IndexSettings(embedder="hash", store=store))
        opened.append(open_index(root / name))
    yield opened
    for name in ("chroma", "qdrant"):
        close_index(root / name)


SINGLE = st.sampled_from(VALUES)
EXACT = st.sampled_from([0, 1, -1, 1.0, 1.5, 2**53, "2024-01-01", "2024-03-01T00:00:00+02:00"])
ALIKE = st.sampled_from([[0, 1.5], ["a", "b", "1"], [True], [False, True], [1.0, 2**53]])
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$contains", "$not_contains"]), SINGLE),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), EXACT),
    st.tuples(st.sampled_from(["$in", "$nin"]), ALIKE),
).map(lambda pair: {pair[0]: pair[1]})
CLAUSES = st.dictionaries(st.sampled_from([*KEYS, "missing"]), CONDITIONS, min_size=1, max_size=2)
FILTERS = st.recursive(
    CLAUSES,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1
    ),
    max_leaves=4,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(FILTERS)
def test_every_store_filters_alike(indexes: list[Index], where: dict[str, Any]) -> None:
    asked = parse_filter(where)
    assert asked is not None
    wanted = {str(n) for n, facts in enumerate(FACTS) if passes(add_date_seconds(facts), asked)}
    for index in indexes:
        vector = index._encoded("word").vectors[0]
        stored = index._parts.store.query(vector, 500, asked)
        for found in (stored, index.dense("word", 500, where), index.keyword("word", 500, where)):
            passages = index.passages(list(found))
            assert {passage.document for passage in passages} == wanted
