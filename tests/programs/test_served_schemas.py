"""Servers that have every model keep to a JSON schema are asked for one."""

from __future__ import annotations

import json

import dspy
import pytest

from ragwright.programs.lm import build_lm
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.signatures import AnswerWithCitations
from tests.servers.slow_lm import SlowLM

ASKED = {"context": ["[1] The tower stands in Paris."], "question": "Where does the tower stand?"}


@pytest.mark.parametrize(
    ("owner", "first"),
    [("llamacpp", "json_schema"), ("vllm", "json_schema"), ("library", "json_schema"),
     ("organization_owner", "json_schema"), ("somebody", "chat"), ("", "chat")],
)  # fmt: skip
def test_a_form_is_chosen_by_who_serves_the_model(
    owner: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SlowLM(owner=owner) as server:
        lm = build_lm("openai/scripted", api_base=server.url, max_tokens=50)
        assert ReplyAdapter().order(lm, AnswerWithCitations)[0] == first
        with dspy.context(lm=lm, adapter=ReplyAdapter()):
            said = dspy.Predict(AnswerWithCitations)(**ASKED)
    assert said.answer == "The tower stands in Paris."
    assert said.read == ("json" if first == "json_schema" else "chat")
    assert len(server.calls) == 1  # nothing is asked of the model to find out
    assert "from now on" not in caplog.text


def test_no_placeholder_stands_where_a_schema_says_what_is_wanted() -> None:
    sent = ReplyAdapter().form("json_schema").format(AnswerWithCitations, [], ASKED)
    assert "{answer}" not in json.dumps(sent)
    assert "`answer`, `citations`" in sent[0]["content"]
