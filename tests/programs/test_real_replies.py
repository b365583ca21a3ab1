"""Replies that SmolLM2-135M-Instruct really wrote: read, or not, and streamed alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.programs import HybridRAG, ReplyAdapter
from ragwright.programs.replies.learned import ReplyForm, ReplyHabits
from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import UnreadableReply, read_reply
from ragwright.programs.replies.wanted import output_fields
from ragwright.programs.signatures import AnswerWithCitations
from tests.servers.scripted_lm import Call, ScriptedLM

from .test_replies import parts, saying

WANTED = output_fields(AnswerWithCitations)
RECORDED = json.loads(Path(__file__).with_name("real_replies.json").read_text(encoding="utf-8"))
REPLIES = [one for one in RECORDED if one["kind"] == "answer"]


@pytest.mark.parametrize("place", range(len(REPLIES)))
@pytest.mark.parametrize("size", [1, 3])
def test_what_is_streamed_of_a_real_reply_begins_what_is_read_in_it(place: int, size: int) -> None:
    text, plain = REPLIES[place]["reply"], REPLIES[place]["asked_as"] == "plain"
    try:
        answer = read_reply(text, WANTED, plain=plain).values["answer"]
    except UnreadableReply:
        answer = ""
    for end in range(0, len(text) + size, size):
        shown = certain_beginning(text[:end], WANTED, "answer", plain=plain)
        assert answer.startswith(shown), (text[:end], shown)


@dataclass
class Replaying(ScriptedLM):
    """Says one reply that was recorded, and something that can be read if it is asked again."""

    said: str = ""
    again: int = 0

    def reply(self, call: Call, *, as_json: bool) -> str:
        self.again += 1
        return self.said if self.again == 1 else '{"answer": "30 days", "citations": [1]}'


@pytest.fixture(scope="module")
def server() -> Iterator[Replaying]:
    with Replaying() as server:
        yield server


@pytest.mark.parametrize("place", range(len(REPLIES)))
def test_replayed_over_http_it_is_the_same_plain_and_streamed(
    server: Replaying, index_path: str, place: int
) -> None:
    form = "plain" if REPLIES[place]["asked_as"] == "plain" else "chat"
    program = HybridRAG(index_path)
    program.set_lm(
        dspy.LM("openai/smollm2", api_base=server.url, api_key="none", cache=False, timeout=60)
    )
    with dspy.context(adapter=ReplyAdapter(form)):  # type: ignore[arg-type]
        server.said, server.again = REPLIES[place]["reply"], 0
        answer, calls = program(question="How many days?").answer, server.again
        server.again = 0
        said, streamed, _ = parts(program)
    assert (said, streamed, server.again) == (answer, answer, calls)


def test_a_program_is_no_answer_unless_nothing_but_the_answer_was_asked_for() -> None:
    unread: Counter[str] = Counter()
    for one in REPLIES:
        try:
            answer = read_reply(one["reply"], WANTED, plain=one["asked_as"] == "plain").values[
                "answer"
            ]
        except UnreadableReply:
            unread[one["asked_as"]] += 1
        else:
            assert not answer.startswith(("```", "import ", "def "))
    # Of the last form, those that say no more than "The answer to this question is:".
    assert unread["plain"] == 2


def test_a_model_that_writes_programs_is_soon_asked_for_the_answer_alone() -> None:
    habits = ReplyHabits("smollm2")
    for form in ("chat", "json"):
        for one in [one for one in REPLIES if one["asked_as"] == form]:
            try:
                habits.read(form, read_reply(one["reply"], WANTED).how)
            except UnreadableReply:
                habits.lost([form])
    assert habits.order("auto", ("chat", "json", "plain"))[0] == "plain"


@pytest.mark.parametrize(("format", "told"), [("auto", 1), ("plain", 0)])
def test_a_change_of_form_is_told_where_none_was_asked_for(
    format: Any, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    with dspy.context(lm=saying("In Paris.")[0], adapter=ReplyAdapter(format)):
        for number in range(4):
            dspy.Predict("question -> answer")(question=f"Where, {number}?")
    assert len([one for one in caplog.records if "from now on" in one.message]) == told


PROGRAM = "```python\ndef answer(context):\n    return context\n```"


def test_what_cannot_be_read_is_asked_for_alone_and_after_two_times_first() -> None:
    lm, said = saying(PROGRAM, "Answer: Paris", PROGRAM, "In Paris.", "Paris")
    with dspy.context(lm=lm, adapter=ReplyAdapter()):
        asked = [dspy.Predict(AnswerWithCitations) for _ in range(3)]
        answers = [one(context=["[1] Paris"], question="Where?") for one in asked]
    assert [one.answer for one in answers] == ["Paris", "In Paris.", "Paris"]
    assert {one.read for one in answers} == {"plain"}
    alone = ["and nothing else" in system for system in map(str, said.requests)]
    assert alone == [False, True, False, True, True]


def test_a_form_that_works_goes_before_those_that_were_not_tried() -> None:
    forms: tuple[ReplyForm, ...] = ("chat", "json", "plain")
    habits = ReplyHabits("small")
    assert habits.order("auto", forms) == ("chat", "plain")
    for _ in range(3):
        habits.read("chat", "plain")  # the answer alone, in whatever form it is asked for
    assert habits.order("auto", forms) == ("json", "plain")
    slips = ReplyHabits("large")
    slips.read("chat", "chat")
    assert slips.order("auto", forms) == ("chat", "json")
    assert ReplyHabits("calls").order("auto", forms, text=False) == ("chat", "json")
    assert ReplyHabits("other").order("auto", ("chat", "json")) == ("chat", "json")
    assert ReplyHabits("other").order("json_schema", forms) == ("json_schema", "chat")
