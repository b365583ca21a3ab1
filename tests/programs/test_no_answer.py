"""Replies that say something and answer nothing, generated: none is an answer, however written."""

from __future__ import annotations

import itertools
import json

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.learned import ReplyForm
from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import UnreadableReply, read_reply
from ragwright.programs.replies.wanted import output_fields
from ragwright.programs.signatures import AnswerWithCitations

from .test_replies import saying

WANTED = output_fields(AnswerWithCitations)
QUESTION = "How many days of leave does everybody have?"
INPUTS = {"context": ["[1] Everybody has 30 days."], "question": QUESTION}

POLITE = ("", "Sure! ", "Certainly, ", "Of course. ")
POINTS = ("", "here is ", "Here's ")
SAID = ("the answer", "The final answer", "my answer to this question", "the response")
ENDS = (" is:", ":", " is as follows:", " is")
ANNOUNCED = [
    "".join(parts)
    for parts in itertools.product(POLITE, POINTS, SAID, ENDS)
    if not (parts[1] and parts[3].startswith(" is"))
]
AGAIN = ["The answer is: " * 20, "The answer to the question is: " * 9 + "The ans",
         "The answer is:\n\n" * 9]  # fmt: skip
ALONE = ["Answer", "**Answer:**", "Here you go:", "Sure, here it is:", "[answer]",
         "{answer}", "<answer>", "answer:\n\n"]  # fmt: skip
MARKERS = ["[[ ## answer ## ]]", "[[ ## answer ## ]]\n[[ ## citations ## ]]",
           "[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]",
           "[[ ## context ## ]]\n[1] x\n\n[[ ## question ## ]]\nHow many?",
           "```\n\nThe output fields are:\n```\n[** Answer**]\n```\n\nThe field "
           "`[[## Answer## ]]` is formatted as a Python list[int]."]  # fmt: skip
PROGRAMS = ["print('x')", "def answer(question):\n    return 30", "import json\n\njson.loads('1')",
            "# [1] Everybody has 30 days.", "class Answer:\n    pass",
            "answer = [\n    {'answer': '30'}\n]"]  # fmt: skip


def ways(text: str) -> list[str]:
    """The same text as a whole reply, under a marker, in JSON, and after a thought."""
    chat = f"[[ ## answer ## ]]\n{text}\n\n[[ ## citations ## ]]\n[]\n\n[[ ## completed ## ]]"
    return [text, chat, json.dumps({"answer": text, "citations": []}), f"<think>30?</think>{text}"]


@pytest.mark.parametrize("text", [*ANNOUNCED, *ALONE, *AGAIN])
def test_what_only_announces_an_answer_is_none(text: str) -> None:
    for written, plain in itertools.product(ways(text), (False, True)):
        with pytest.raises(UnreadableReply):
            read_reply(written, WANTED, plain=plain)
        for end in range(len(written) + 1):
            assert certain_beginning(written[:end], WANTED, "answer", plain=plain) == ""


@pytest.mark.parametrize("text", MARKERS)
def test_markers_given_back_are_no_answer(text: str) -> None:
    with pytest.raises(UnreadableReply):
        read_reply(text, WANTED)


@pytest.mark.parametrize("form", ["chat", "json", "plain"])
def test_the_prompt_given_back_is_no_answer(form: ReplyForm) -> None:
    sent = ReplyAdapter().form(form).format(AnswerWithCitations, [], INPUTS)
    for text in (sent[-1]["content"], sent[0]["content"], "\n".join(m["content"] for m in sent)):
        with pytest.raises(UnreadableReply):
            read_reply(text, WANTED, plain=form == "plain")


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize(
    "fence", ["```python\n{}\n```", "```py\n{}", "```js\n{}\n```\n\nSo it is."]
)
def test_a_program_is_an_answer_only_where_nothing_else_was_asked_for(
    code: str, fence: str
) -> None:
    text = fence.format(code)
    with pytest.raises(UnreadableReply):
        read_reply(text, WANTED)
    assert code.splitlines()[0] in read_reply(text, WANTED, plain=True).values["answer"]
    marked = f"[[ ## answer ## ]]\n{text}\n\n[[ ## citations ## ]]\n[1]"
    assert code.splitlines()[0] in read_reply(marked, WANTED).values["answer"]


KEPT = [
    "Result", "Response time", "Output", "The solution of salt", "Sure thing", "Here Comes the Sun",
    "The answer, my friend, is blowing in the wind.", "Import duties rose.", "Class action",
    "Okay", "Sure!", "This is the end", "Certainly not.", "The response was slow.",
    "Answering machines", "Here: in Rome", "The answers", "A", "Yes", "An answer key",
    "Of course it has: 30 days.", "The input fields are: name and address.",
]  # fmt: skip


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_it_is_an_answer(text: str) -> None:
    for written, plain in itertools.product(ways(text), (False, True)):
        assert read_reply(written, WANTED, plain=plain).values["answer"] == text
        for end in range(len(written) + 1):
            assert text.startswith(certain_beginning(written[:end], WANTED, "answer", plain=plain))


@pytest.mark.parametrize("text", ["The answer is: 30 days", "My answer to the question is: 30 days",
                                  "My final answer: 30 days", "The answer is: 30 days\n",
                                  "```\n30 days\n```",
                                  "```text\n30 days\n```"])  # fmt: skip
def test_what_follows_the_announcement_is_the_answer(text: str) -> None:
    for plain in (False, True):
        assert read_reply(text, WANTED, plain=plain).values["answer"] == "30 days"


@pytest.mark.parametrize("format", ["auto", "chat", "plain"])
@pytest.mark.parametrize("text", [QUESTION, f"Question: {QUESTION.upper()}", f'"{QUESTION}"'])
def test_the_question_given_back_is_no_answer(text: str, format: str) -> None:
    with (
        dspy.context(lm=saying(text)[0], adapter=ReplyAdapter(format)),  # type: ignore[arg-type]
        pytest.raises(AdapterParseError, match="given back"),
    ):
        dspy.Predict(AnswerWithCitations)(**INPUTS)


def test_a_rewritten_question_may_be_the_same_question() -> None:
    with dspy.context(lm=saying(QUESTION)[0], adapter=ReplyAdapter()):
        done = dspy.Predict("history, question -> standalone")(history="-", question=QUESTION)
    assert done.standalone == QUESTION
