"""Prompts are written as DSPy's own adapters write them, whatever the values are."""

from __future__ import annotations

import enum
from typing import Any, Literal

import dspy
import pydantic
import pytest
from dspy.adapters.json_adapter import JSONAdapter
from dspy.adapters.utils import format_field_value
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.programs.replies.adapter import _Chat, _Json
from ragwright.programs.replies.prompts import format_input
from ragwright.retrievers.types import Passage


class Colour(enum.StrEnum):
    RED = "red"


class Part(pydantic.BaseModel):
    name: str
    colours: list[Colour] = [Colour.RED]


class Asked(dspy.Signature):
    """Answer."""

    context: list[str] = dspy.InputField()
    notes: str = dspy.InputField()
    extra: Any = dspy.InputField(desc="anything")
    answer: Literal["yes", "no"] | str = dspy.OutputField()
    parts: list[Part] = dspy.OutputField()


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(),
    st.sampled_from([Colour.RED, Part(name="a"), Passage("text", id="1"), object, "\ud800", 1j]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.sets(st.integers()),
        st.dictionaries(st.text() | st.integers(), inner),
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40)
@given(VALUES)
def test_any_value_is_written_as_dspy_writes_it(value: Any) -> None:
    for name in ("context", "extra") if isinstance(value, list) else ("context", "notes"):
        info = Asked.input_fields[name]
        assert format_input(info, value) == format_field_value(field_info=info, value=value)


def test_a_list_that_holds_itself_is_written_too() -> None:
    value: list[object] = []
    value.append(value)
    info = Asked.input_fields["context"]
    assert format_input(info, value) == format_field_value(field_info=info, value=value)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(_Chat(), dspy.ChatAdapter()), (_Json(schema=False), JSONAdapter())]
)
def test_whole_prompts_are_those_of_dspy(ours: dspy.Adapter, theirs: dspy.Adapter) -> None:
    inputs = {"context": [Passage("One."), "Two."], "notes": ["a", "b"], "extra": {"n": (1, None)}}
    whole = {**inputs, "answer": "yes", "parts": [Part(name="x")]}
    part = {"notes": "alone", "answer": "no", "parts": []}
    for signature in (Asked, Asked.with_instructions("Say so."), Asked.delete("extra")):
        asked = [(signature, [dict(whole), dict(part)], dict(inputs)) for _ in range(2)]
        assert ours.format(*asked[0]) == theirs.format(*asked[1])
        assert ours.format(*asked[0]) == theirs.format(*asked[1])  # from what is remembered
