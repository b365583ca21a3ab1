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

from ragwright.programs.causes import cause_of
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


def predictor(server: ScriptedLM, timeout: float = 30) -> dspy.Predict:
    lm = dspy.LM(
        "openai/scripted", api_base=server.url, api_key="test", cache=False, num_retries=0,
        timeout=timeout,
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
    ("fault", "error", "calls", "kind"),
    [
        ("429", LMRateLimitError, 1, "rate limit"),
        ("500", LMServerError, 1, "server"),
        ("garbage", AdapterParseError, 2, "unreadable"),
        ("empty", AdapterParseError, 2, "unreadable"),
        ("half", LMTransportError, 1, "broken off"),
        ("drop", LMTransportError, 1, "broken off"),
        ("hang", LMTransportError, 1, "timeout"),
    ],
)
def test_a_fault_reaches_the_client_until_it_is_over(
    server: ScriptedLM, fault: Fault, error: type[Exception], calls: int, kind: str
) -> None:
    server.fail(fault)
    with pytest.raises(error) as met:
        predictor(server, timeout=0.3 if fault == "hang" else 30)(**ASKED)
    assert cause_of(met.value).kind == kind
    assert len(server.calls) == calls
    server.recover()
    assert predictor(server)(**ASKED).citations == [2]


def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    with ScriptedLM() as gone:
        asked = predictor(gone)
    with pytest.raises(LMTransportError) as met:
        asked(**ASKED)
    assert cause_of(met.value).kind == "unreachable"
