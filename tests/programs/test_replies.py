"""Replies as models write them: whatever the form, the answer is read, and alike everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import dspy
import pydantic
import pytest
from dspy.lm15 import (
    Message,
    Request,
    Response,
    StreamDeltaEvent,
    StreamEndEvent,
    StreamStartEvent,
    TextDelta,
    Usage,
)
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs import HybridRAG, MultiHopRAG, RAGOptions, ReplyAdapter, stream
from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import UnreadableReply, read_reply
from ragwright.programs.replies.wanted import output_fields
from ragwright.programs.signatures import AnswerOrAbstain, AnswerWithCitations
from ragwright.programs.streaming import Done, Failed, Restarted, Token

WANTED = output_fields(AnswerWithCitations)
UNSURE = output_fields(AnswerOrAbstain)


def chat(**fields: object) -> str:
    blocks = [f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()]
    return "\n\n".join([*blocks, "[[ ## completed ## ]]"])


class Says:
    """An engine that says given texts in turn, the last one again and again, in small pieces."""

    supports_response_schema = False

    def __init__(self, *texts: str, size: int = 3) -> None:
        self.texts = list(texts)
        self.size = size
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Response:
        text = self.texts[min(len(self.requests), len(self.texts) - 1)]
        self.requests.append(request)
        return Response(
            id=None,
            model="says",
            message=Message.assistant(text),
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        text = self.complete(request).message.text or ""
        yield StreamStartEvent(model="says")
        for start in range(0, len(text), self.size):
            piece = TextDelta(text=text[start : start + self.size], part_index=0)
            yield StreamDeltaEvent(delta=piece)
        yield StreamEndEvent(finish_reason="stop", usage=Usage(input_tokens=1, output_tokens=1))

    def close(self) -> None: ...

    def __deepcopy__(self, memo: dict[int, Any]) -> Says:
        return self


class AsyncSays:
    def __init__(self, engine: Says) -> None:
        self.engine = engine

    async def complete(self, request: Request) -> Response:
        return self.engine.complete(request)

    async def stream(self, request: Request) -> Any:
        for event in self.engine.stream(request):
            yield event

    async def aclose(self) -> None: ...


def saying(*texts: str, size: int = 3) -> tuple[dspy.LM, Says]:
    engine = Says(*texts, size=size)
    lm = dspy.LM("says/it", engine=engine, async_engine=AsyncSays(engine), cache=False)
    return lm, engine


CITATIONS = {
    "[1]": [1], "1, 2": [1, 2], "[1], [2]": [1, 2], "Passage 1": [1], "1 and 3": [1, 3],
    "[1, 2]": [1, 2], "": [], "None": [], "N/A": [], "- 1\n- 2": [1, 2], "1. [2]\n2. [1]": [2, 1],
    "passages 1-3": [1, 2, 3], '["1", "2"]': [1, 2], "['1', '2']": [1, 2], "[1, 2,]": [1, 2],
    "[1, 2": [1, 2], "```json\n[1]\n```": [1], "**[2]**": [2], "one and two": [1, 2], "(1)": [1],
    "Sources: [1]; [3]": [1, 3], '{"citations": [2]}': [2],
}  # fmt: skip
CONFIDENCES = {
    "0.9": 0.9, "95%": 0.95, "95 %": 0.95, "high": None, "": None, "None": None, "0,9": 0.9,
    ".9": 0.9, "9/10": 0.9, "9 out of 10": 0.9, "about 0.9": 0.9, "**0.9**": 0.9, '"0.9"': 0.9,
    "0.9.": 0.9, "Confidence: 0.9": 0.9, "90 percent": 0.9, "1": 1.0, "1.0 (certain)": 1.0,
    "100": 1.0, "very sure": None, "`0.9`": 0.9,
}  # fmt: skip
ENOUGH = {
    "yes": True, "Yes.": True, "": False, "no": False, "No, one more": False, "True": True,
    "FALSE": False, "**True**": True, "y": True, "1": True, "0": False, "not enough": False,
    "Yes, the notes suffice": True, "null": False, "maybe": False, '"true"': True, "`true`": True,
    "It is true": True, "- yes": True, "✓": True,
}  # fmt: skip
QUERIES = {
    '["a", "b"]': ["a", "b"], "- a\n- b": ["a", "b"], "1. a\n2. b": ["a", "b"], "a\nb": ["a", "b"],
    "* a\n* b": ["a", "b"], "1) a\n2) b": ["a", "b"], "['a', 'b']": ["a", "b"], "a; b": ["a", "b"],
    '["a", "b",]': ["a", "b"], '["a", "b"': ["a", "b"], '```json\n["a", "b"]\n```': ["a", "b"],
    '"a", "b"': ["a", "b"], "Here are the queries:\n- a\n- b": ["a", "b"], "a, b": ["a", "b"],
    '- "a"\n- "b"': ["a", "b"], "• a\n• b": ["a", "b"], "**a**\n**b**": ["a", "b"], "a": ["a"],
    '{"queries": ["a", "b"]}': ["a", "b"], "a | b": ["a", "b"], "": [], "None": [],
}  # fmt: skip


@pytest.mark.parametrize(("written", "value"), CITATIONS.items())
@pytest.mark.parametrize("form", ["chat", "json"])
def test_citations_are_read_however_written(form: str, written: str, value: list[int]) -> None:
    text = chat(answer="30 days", citations=written)
    if form == "json":
        text = json.dumps({"answer": "30 days", "citations": written})
    reading = read_reply(text, WANTED)
    assert dict(reading.values) == {"answer": "30 days", "citations": value}
    assert reading.how in (form, "salvaged")


@pytest.mark.parametrize(("written", "value"), CONFIDENCES.items())
@pytest.mark.parametrize("form", ["chat", "json"])
def test_confidence_is_read_however_written(form: str, written: str, value: float | None) -> None:
    fields = {"answer": "30 days", "citations": "[1]", "confidence": written}
    reading = read_reply(chat(**fields) if form == "chat" else json.dumps(fields), UNSURE)
    assert reading.values["answer"] == "30 days"
    assert reading.values["confidence"] == (value if value is None else pytest.approx(value))


class Hop(dspy.Signature):
    """Note."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()
    enough: bool = dspy.OutputField()


@pytest.mark.parametrize(("written", "value"), ENOUGH.items())
@pytest.mark.parametrize("form", ["chat", "json"])
def test_yes_and_no_are_read_however_written(form: str, written: str, value: bool) -> None:
    fields = {"answer": "x", "enough": written}
    reading = read_reply(
        chat(**fields) if form == "chat" else json.dumps(fields), output_fields(Hop)
    )
    assert dict(reading.values) == {"answer": "x", "enough": value}


@pytest.mark.parametrize(("written", "value"), QUERIES.items())
@pytest.mark.parametrize("form", ["chat", "json"])
def test_lists_of_text_are_read_however_written(form: str, written: str, value: list[str]) -> None:
    wanted = output_fields(dspy.Signature("question -> queries: list[str]"))
    text = chat(queries=written) if form == "chat" else json.dumps({"queries": written})
    assert read_reply(text, wanted).values["queries"] == value


FORMS = {
    chat(answer="30 days", citations="[1]"): "chat",
    '{"answer": "30 days", "citations": [1]}': "json",
    '```json\n{"answer": "30 days", "citations": [1]}\n```': "json",
    "Sure! Here it is:\n\n" + chat(answer="30 days", citations="[1]"): "chat",
    "[[ ## ANSWER ## ]]\n30 days\n[[ ## Citations ## ]]\n[1]": "chat",
    "[[##answer##]] 30 days [[##citations##]] [1]": "salvaged",
    "**[[ ## answer ## ]]**\n30 days\n\n**[[ ## citations ## ]]**\n[1]\n": "salvaged",
    "[[answer]]\n30 days\n[[citations]]\n[1]": "salvaged",
    "{'answer': '30 days', 'citations': [1],}": "salvaged",
    '{"answer": "30 days", "citations": [1': "salvaged",
    '{"Answer": "30 days", "CITATIONS": ["1"]}': "json",
    '{"response": {"answer": "30 days", "citations": [1]}}': "salvaged",
    '[{"answer": "30 days", "citations": [1]}]': "salvaged",
    '{"answer": "30 days", "citations": [1]}\n{"answer": "31", "citations": [2]}': "json",
    '[[ ## answer ## ]]\n{"answer": "30 days", "citations": [1]}': "salvaged",
    '[[ ## answer ## ]]\n```json\n{"answer": "30 days", "citations": [1]}\n```': "salvaged",
    "Answer: 30 days\nCitations: [1]": "salvaged",
    "**Answer:** 30 days\n\n**Citations:** [1]": "salvaged",
    "### Answer\n30 days\n\n### Citations\n1": "salvaged",
    "<answer>30 days</answer>\n<citations>[1]</citations>": "salvaged",
    "30 days\n\nCitations: [1]": "salvaged",
    "[[ ## answer ## ]]\n30 days\n\nCitations: [1]": "salvaged",
    "[[ ## answer ## ]]\n{answer}\n[[ ## citations ## ]]\n{citations}\n\n"
    + chat(answer="30 days", citations="[1]"): "chat",
    chat(answer="30 days", citations="[1]") + "\n\n" + chat(answer="7", citations="[2]"): "chat",
    "[[ ## context ## ]]\n[1] x\n[[ ## question ## ]]\nHow?\n"
    + chat(answer="30 days", citations="[1]"): "chat",
    "[[ ## 答案 ## ]]\n30 days\n\n[[ ## 引用 ## ]]\n[1]\n": "salvaged",
    "<think>\n[[ ## answer ## ]]\n20?\n</think>\n"
    + chat(answer="30 days", citations="[1]"): "chat",
    chat(answer="<thinking>hm</thinking>30 days", citations="[1]"): "chat",
    "I should say 20.</think>" + chat(answer="30 days", citations="[1]"): "chat",
    "<|channel|>analysis<|message|>Perhaps 20.<|end|><|start|>assistant<|channel|>final<|message|>"
    + chat(answer="30 days", citations="[1]"): "chat",
    chat(answer="30 days", citations="[1]") + "<|im_end|>": "chat",
    '<think>{"answer": "20"}</think>{"answer": "30 days", "citations": [1]}': "json",
}  # fmt: skip


@pytest.mark.parametrize(("text", "how"), FORMS.items())
def test_the_answer_is_found_wherever_it_stands(text: str, how: str) -> None:
    reading = read_reply(text, WANTED)
    assert dict(reading.values) == {"answer": "30 days", "citations": [1]}
    assert reading.how == how


OTHERS = {
    "30 days": ("30 days", [], "plain"),
    "30 days [2].": ("30 days [2].", [2], "plain"),
    "[[ ## answer ## ]]\n30 days": ("30 days", [], "salvaged"),
    "[[ ## answer ## ]]\nEverybody has 30 days a": ("Everybody has 30 days a", [], "salvaged"),
    '{"answer": "30 da': ("30 da", [], "salvaged"),
    "<think>hm</think>30 days": ("30 days", [], "plain"),
    "Answer: 30 days": ("30 days", [], "salvaged"),
    chat(answer="Use `<think>` tags", citations="[1]"): ("Use `<think>` tags", [1], "chat"),
    chat(answer="<thinking about it> 30", citations="[1]"): ("<thinking about it> 30", [1], "chat"),
    chat(answer="a\n\n- b\n- c\n\n```py\nx = {1: 2}\n```", citations="[1]"): (
        "a\n\n- b\n- c\n\n```py\nx = {1: 2}\n```", [1], "chat"),
    chat(answer='{"leave": 30}', citations="[1]"): ('{"leave": 30}', [1], "chat"),
    '{"answer": 30, "citations": "[1]"}': ("30", [1], "salvaged"),
    '{"final_answer": "30 days"}': ("30 days", [], "salvaged"),
    "I'm sorry, I can't help with that.": ("I'm sorry, I can't help with that.", [], "plain"),
}  # fmt: skip


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_not_given_is_absent(text: str) -> None:
    answer, citations, how = OTHERS[text]
    reading = read_reply(text, WANTED)
    assert (reading.values["answer"], reading.values["citations"], reading.how) == (
        answer, citations, how,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", " \n", "%% !! @@", "<think>Thirty days, so", "[[ ## completed ## ]]",
        "[[ ## answer ## ]]\n\n[[ ## completed ## ]]",
        "[[ ## answer ## ]]\n{answer}\n\n[[ ## citations ## ]]\n{citations}",
        '{"answer": ""}', '{"answer": null}', '{"properties": {"answer": {"type": "string"}}}',
        "Respond with the corresponding output fields, starting with the field `answer`.",
    ],
)  # fmt: skip
def test_what_holds_no_answer_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableReply):
        read_reply(text, WANTED)


class Written(dspy.Signature):
    """Write a question."""

    passage: str = dspy.InputField()
    question: str = dspy.OutputField()
    answer: str = dspy.OutputField()
    evidence: list[str] = dspy.OutputField()


@pytest.mark.parametrize(
    "text",
    [
        chat(question="Why?", answer="", evidence="[]"),
        chat(question="Why?", answer="", evidence=""),
        "[[ ## question ## ]]\nWhy?\n\n[[ ## answer ## ]]\n\n[[ ## evidence ## ]]\n",
        '{"question": "Why?", "answer": "", "evidence": []}',
        '{"question": "Why?", "answer": null, "evidence": null}',
    ],
)  # fmt: skip
def test_a_field_that_was_left_empty_is_empty_where_another_is_given(text: str) -> None:
    values = read_reply(text, output_fields(Written)).values
    assert dict(values) == {"question": "Why?", "answer": "", "evidence": []}


def test_a_field_that_is_not_there_is_not_empty() -> None:
    with pytest.raises(UnreadableReply, match="'answer'"):
        read_reply("[[ ## question ## ]]\nWhy?\n\n[[ ## evidence ## ]]\n[]", output_fields(Written))


class Ticket(pydantic.BaseModel):
    title: str
    priority: int


class Triage(dspy.Signature):
    """Sort."""

    message: str = dspy.InputField()
    answer: str = dspy.OutputField()
    urgent: bool = dspy.OutputField()
    team: Literal["billing", "technical"] = dspy.OutputField()
    tags: list[str] = dspy.OutputField()
    ticket: Ticket = dspy.OutputField()


def test_typed_fields_of_anyones_signature_are_read() -> None:
    text = chat(answer="On it", urgent="Yes!", team="The Technical team", tags="- a\n- b",
                ticket="{'Title': 'x', 'priority': '2'}")  # fmt: skip
    values = read_reply(text, output_fields(Triage)).values
    assert values == {
        "answer": "On it", "urgent": True, "team": "technical", "tags": ["a", "b"],
        "ticket": Ticket(title="x", priority=2),
    }  # fmt: skip


def test_a_required_field_that_cannot_be_read_is_asked_for_once_more_and_then_fails() -> None:
    bad = chat(answer="On it", urgent="perhaps", team="technical", tags="a", ticket="{}")
    good = json.dumps({"answer": "On it", "urgent": True, "team": "billing", "tags": [],
                       "ticket": {"title": "x", "priority": 1}})  # fmt: skip
    lm, engine = saying(bad, good)
    with dspy.context(lm=lm, adapter=ReplyAdapter()):
        done = dspy.Predict(Triage)(message="help")
    assert (done.team, done.read, len(engine.requests)) == ("billing", "json", 2)
    lm, engine = saying(bad)
    with (
        dspy.context(lm=lm, adapter=ReplyAdapter()),
        pytest.raises(AdapterParseError, match="'urgent', 'ticket'"),
    ):
        dspy.Predict(Triage)(message="help")
    assert len(engine.requests) == 2


STREAMED = [*FORMS, *OTHERS]


@pytest.mark.parametrize("text", STREAMED)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_no_prefix_shows_what_is_no_part_of_the_answer(text: str, size: int) -> None:
    answer = read_reply(text, WANTED).values["answer"]
    for end in range(0, len(text) + size, size):
        now = certain_beginning(text[:end], WANTED, "answer")
        assert answer.startswith(now), (text[:end], now)


def parts(program: dspy.Module) -> tuple[str, str, int]:
    async def run() -> tuple[str, str, int]:
        said, answer, restarts = "", "", 0
        async for event in stream(program, "How many days of leave?"):
            match event:
                case Token():
                    said += event.text
                case Restarted():
                    said, restarts = "", restarts + 1
                case Done():
                    answer = event.prediction.answer
                case Failed():
                    raise event.error
        return said, answer, restarts

    return asyncio.run(run())


@pytest.mark.parametrize("text", STREAMED)
def test_plain_awaited_and_streamed_agree_in_one_call(index_path: str, text: str) -> None:
    program = HybridRAG(index_path)
    wanted = read_reply(text, WANTED).values["answer"]
    for size in (1, 3):
        lm, engine = saying(text, size=size)
        program.set_lm(lm)
        assert program(question="How many?").answer == wanted
        assert asyncio.run(program.acall(question="How many?")).answer == wanted
        assert parts(program) == (wanted, wanted, 0)
        assert len(engine.requests) == 3


def test_an_unreadable_reply_restarts_the_stream(index_path: str) -> None:
    program = HybridRAG(index_path)
    broken = "[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]"
    lm, engine = saying(broken, '{"answer": "30 days", "citations": [1]}')
    program.set_lm(lm)
    assert parts(program) == ("30 days", "30 days", 0)
    assert len(engine.requests) == 2
    lm, _ = saying("%%", "%%")
    program.set_lm(lm)
    with pytest.raises(AdapterParseError):
        parts(program)


@pytest.mark.parametrize("written", list(CITATIONS))
@pytest.mark.parametrize("form", ["chat", "json"])
def test_no_side_field_loses_an_answer(index_path: str, form: str, written: str) -> None:
    program = HybridRAG(index_path, options=RAGOptions(abstain=True))
    fields = {"answer": "30 days", "citations": written, "confidence": written}
    lm, engine = saying(chat(**fields) if form == "chat" else json.dumps(fields))
    program.set_lm(lm)
    program.knobs.values = program.knobs.values.replaced(abstain_below=0.0)
    assert program(question="How many?").answer == "30 days"
    assert parts(program)[:2] == ("30 days", "30 days")
    assert len(engine.requests) == 2


@pytest.mark.parametrize("written", list(ENOUGH))
def test_no_hop_loses_an_answer(index_path: str, written: str) -> None:
    program = MultiHopRAG(index_path)
    lm, _ = saying(chat(note="x", query="train", enough=written), chat(answer="30 days"))
    program.set_lm(lm)
    assert program(question="How many?").answer == "30 days"


@pytest.mark.parametrize("answer", ["{}", "()", "[]", "*", "==", "I don't know"])
@pytest.mark.parametrize("form", ["chat", "json"])
def test_signs_alone_are_an_answer_and_an_empty_list_is_a_list(answer: str, form: str) -> None:
    written = {
        "chat": chat(answer=answer, citations="[]"),
        "json": json.dumps({"answer": answer, "citations": []}),
    }
    reading = read_reply(written[form], WANTED)
    assert (reading.values, reading.how) == ({"answer": answer, "citations": []}, form)
