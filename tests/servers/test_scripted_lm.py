"""The scripted server itself: what DSPy gets from it, answer and fault alike."""

from __future__ import annotations

from collections.abc import Iterator

import dspy
import pytest
from dspy.utils.exceptions import (
    AdapterParseError,
    LMRateLimitError,
    LMServerError,
    LMTransportError,
)

from ragwright.programs.signatures import AnswerWithCitations
from tests.servers.scripted_lm import Fault, ScriptedLM

ASKED = {
    "context": ["[1] Rome is old. It is big.", "[2] Paris is the capital of France."],
    "question": "What is the capital of France?",
}


@pytest.fixture
def server() -> Iterator[ScriptedLM]:
    with ScriptedLM() as running:
        yield running


def predictor(server: ScriptedLM) -> dspy.Predict:
    lm = dspy.LM(
        "openai/scripted", api_base=server.url, api_key="test", cache=False, num_retries=0,
        timeout=0.3,
    )  # fmt: skip
    predict = dspy.Predict(AnswerWithCitations)
    predict.set_lm(lm)
    return predict


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_it_answers_from_the_context(server: ScriptedLM, adapter: dspy.Adapter) -> None:
    with dspy.context(adapter=adapter):
        said = predictor(server)(**ASKED)
    assert (said.answer, said.citations) == ("Paris is the capital of France.", [2])
    assert [call.wanted for call in server.calls] == [("answer", "citations")]
    assert server.calls[0].fields["question"] == ASKED["question"]


def test_a_script_says_what_it_is_told(server: ScriptedLM) -> None:
    server.script = {"answer": lambda fields: fields["question"].upper(), "citations": "[1]"}
    said = predictor(server)(**ASKED)
    assert (said.answer, said.citations) == ("WHAT IS THE CAPITAL OF FRANCE?", [1])


@pytest.mark.parametrize(
    ("fault", "error", "calls"),
    [
        ("429", LMRateLimitError, 1),
        ("500", LMServerError, 1),
        ("garbage", AdapterParseError, 2),
        ("empty", AdapterParseError, 2),
        ("half", LMTransportError, 1),
        ("drop", LMTransportError, 1),
        ("hang", LMTransportError, 1),
    ],
)
def test_a_fault_reaches_the_client_until_it_is_over(
    server: ScriptedLM, fault: Fault, error: type[Exception], calls: int
) -> None:
    server.fail(fault)
    with pytest.raises(error):
        predictor(server)(**ASKED)
    assert len(server.calls) == calls
    server.recover()
    assert predictor(server)(**ASKED).citations == [2]
