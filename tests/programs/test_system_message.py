"""Models that take no system message are asked without one, and are learned to be so."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMInvalidRequestError

from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.system import refuses_system

REFUSALS = [
    "System role not supported",
    "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
    "Developer instruction is not enabled for models/gemma-3-27b-it",
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "Only user and assistant roles are supported!",
]
KEPT = ["The system is not ready", "Unsupported value: 'temperature'", "the model is not supported"]


class Gemma(dspy.BaseLM):
    """Refuses a system message in somebody's words."""

    def __init__(self, words: str) -> None:
        super().__init__("gemma", cache=False)
        self.words = words
        self.asked: list[list[dict[str, Any]]] = []

    def forward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        self.asked.append(messages)
        if messages[0]["role"] == "system":
            raise LMInvalidRequestError(self.words)
        message = {"role": "assistant", "content": "[[ ## answer ## ]]\nLima"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "model": "gemma", "choices": [choice]}


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.parametrize("words", REFUSALS)
@pytest.mark.parametrize("learns", [True, False])
def test_it_is_joined_to_the_first_question_from_then_on(words: str, learns: bool) -> None:
    lm = Gemma(words)
    ask = dspy.Predict("question -> answer")
    ask.demos = [dspy.Example(question="Norway?", answer="Oslo")]
    with dspy.context(lm=lm, adapter=ReplyAdapter(learns=learns)):
        for _ in range(2):
            assert ask(question="Peru?").answer == "Lima"
    refused, *joined = lm.asked
    assert [message["role"] for message in joined[0]] == ["user", "assistant", "user"]
    assert joined == [joined[0]] * 2
    assert joined[0][0]["content"] == f"{refused[0]['content']}\n\n{refused[1]['content']}"


@pytest.mark.parametrize("words", KEPT)
def test_other_refusals_are_no_such(words: str) -> None:
    assert not refuses_system(LMInvalidRequestError(words))
