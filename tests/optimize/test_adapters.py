"""What DSPy is configured with to write prompts and read replies is used, counted, and kept."""

from __future__ import annotations

import dspy
import pytest
from dspy.utils import DummyLM

from ragwright.optimize.accounts import adapter_of_compile
from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.metered import MeteredLM
from ragwright.programs.recipe import Recipe
from ragwright.programs.replies.adapter import ReplyAdapter

RECIPE = Recipe.checked({"name": "a", "lm": {"format": "plain"}}, source="here")


def test_models_that_it_reads_replies_with_are_counted_in_the_copy() -> None:
    reader = DummyLM([{"answer": "Lima"}])
    configured = dspy.TwoStepAdapter(reader)
    with dspy.context(adapter=configured):
        used = adapter_of_compile(RECIPE, Account())
    assert isinstance(used, dspy.TwoStepAdapter)
    assert isinstance(used.extraction_model, MeteredLM)
    assert configured.extraction_model is reader


@pytest.mark.parametrize("given", [None, ReplyAdapter("chat")])
def test_a_change_of_form_is_the_compiles_alone(given: ReplyAdapter | None) -> None:
    with dspy.context(adapter=given):
        used = adapter_of_compile(RECIPE, Account())
    assert isinstance(used, ReplyAdapter)
    assert used.wanted == ("chat" if given else "plain")
    used.wanted = "auto"
    assert given is None or given.wanted == "chat"
