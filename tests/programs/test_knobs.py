"""Knobs: saved with the state, refused when wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ragwright.programs import HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.retrievers.errors import InputError


def test_the_state_is_json_and_comes_back() -> None:
    before = Knobs(KnobValues(k=7, fusion="rrf", weight_maxsim=0.25))
    after = Knobs()
    after.load_state(json.loads(json.dumps(before.dump_state())))
    assert after.values == before.values != KnobValues()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"typo": 1}, "typo"),
        ({"k": 0}, "k: "),
        ({"k": 51}, "51"),
        ({"k": "5"}, "'5'"),
        ({"k": 5.5}, "5.5"),
        ({"k": True}, "True"),
        ({"weight_dense": 1.5}, "1.5"),
        ({"weight_dense": float("nan")}, "weight_dense"),
        ({"fusion": "sum"}, "sum"),
        ({"weight_dense": 0.0, "weight_bm25": 0.0}, "nothing is retrieved"),
        ({"context_tokens": 10}, "context_tokens"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(change: dict[str, Any], named: str) -> None:
    knobs = Knobs()
    with pytest.raises(InputError, match=named):
        knobs.load_state(KnobValues().model_dump() | change)
    assert knobs.values == KnobValues()


@pytest.mark.parametrize("state", [None, [], "k", 5])
def test_a_state_that_is_no_table_is_refused(state: object) -> None:
    with pytest.raises(InputError):
        Knobs().load_state(state)


def test_replacing_checks_again() -> None:
    assert KnobValues().replaced(k=9).k == 9
    with pytest.raises(InputError, match="k"):
        KnobValues().replaced(k=0)
    with pytest.raises(InputError, match="nope"):
        KnobValues().replaced(nope=1)


def test_forgetting_demonstrations_keeps_the_numbers() -> None:
    knobs = Knobs(KnobValues(k=9))
    knobs.reset()
    assert knobs.values.k == 9


@pytest.mark.parametrize("k", [0, -1, 101, 10**6, True, 2.5, "3"])
def test_a_search_says_how_many_passages_may_be_asked_for(tmp_path: Path, k: Any) -> None:
    stage = HybridRetriever(str(tmp_path))
    with pytest.raises(InputError, match=f"k is {re.escape(repr(k))}, .* from 1 to 100 passages"):
        stage("anything", k=k)
