"""Replies in the styles of many families of models: the answer is read, and nothing else is shown.

The styles are in `reply_styles`; each is written with answers of several kinds, streamed sign by
sign, and cut off after its answer.
"""

from __future__ import annotations

import re

import pytest

from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import UnreadableReply, read_reply
from ragwright.programs.replies.wanted import output_fields
from ragwright.programs.signatures import AnswerWithCitations

from .reply_styles import ENDS, MARKERS, STYLES, TEMPLATES, THINKING, chat

WANTED = output_fields(AnswerWithCitations)
ANSWER = "It has 30 days, all paid."
ANSWERS = [ANSWER, "Paris", "7", "No, only the manager may.", "巴黎是法国的首都。", "Note: 30 days"]
SPOKEN = {
    "call: llama 3, function, spoken", "markers: fenced, told", "markers: greeting",
    "json: fenced, told", "json: told", "markup: xml, told", "label: react", "label: reasoned",
    "label: step by step", "label: q and a", "markup: boxed, told",
}  # fmt: skip
"""Styles that say something before they come to a form: if that was not asked for, it is shown."""


@pytest.mark.parametrize("name", STYLES)
def test_no_style_loses_an_answer_or_its_citations(name: str) -> None:
    for answer in ANSWERS:
        for plain in (False, True):
            values = read_reply(STYLES[name](answer, (1, 2)), WANTED, plain=plain).values
            assert dict(values) == {"answer": answer, "citations": [1, 2]}, (answer, plain)


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("plain", [False, True])
def test_what_is_streamed_of_a_style_begins_the_answer(name: str, plain: bool) -> None:
    text = STYLES[name](ANSWER, (1, 2))
    if plain and name in SPOKEN:
        return
    for end in range(len(text) + 1) if len(text) < 800 else range(0, len(text) + 1, 13):
        shown = certain_beginning(text[:end], WANTED, "answer", plain=plain)
        assert ANSWER.startswith(shown), (text[:end], shown)


@pytest.mark.parametrize("name", STYLES)
def test_a_style_that_is_cut_after_its_answer_keeps_it(name: str) -> None:
    text = STYLES[name](ANSWER, (1, 2))
    kind, _, which = name.partition(": ")
    styles = {"markers": MARKERS, "end": ENDS, "template": TEMPLATES, "thinking": THINKING}
    if which not in styles.get(kind, {}) or re.search(
        "json|call|numbered|typed|same line|zero width", which
    ):
        return
    for end in range(text.index(ANSWER) + len(ANSWER), min(len(text), 1000)):
        assert read_reply(text[:end], WANTED).values["answer"] == ANSWER, text[:end]


@pytest.mark.parametrize("begun", ["<t", "<think", "<|im_st", "<|", "[T", "[/IN", "◁thi", "<｜A"])
def test_the_beginning_of_a_tag_is_no_answer(begun: str) -> None:
    with pytest.raises(UnreadableReply):
        read_reply(begun, WANTED)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("The answer is $\\boxed{\\text{30 days}}$.", "The answer is 30 days."),
        ("\\boxed{\\frac{1}{2}} of it", "\\frac{1}{2} of it"),
        ("\\boxed{30 da", "30 da"),
        ("Write `\\boxed{x}` around it.", "Write `\\boxed{x}` around it."),
        ("It ends with `<|im_end|>` there.", "It ends with `<|im_end|>` there."),
        ("It has <co: 0>30 days</co: 0>, <co: 1,2>all paid</co: 1,2>.",
         "It has 30 days, all paid."),
        ("1. Save\n2. Close\n\n---\n\n# Then\n\nLeave.", None),
        ("Sources: the annual report.", None),
        ("Two things.\n\nSources: the annual report.", None),
        ("Set it:\n\n```toml\nanswer = 1\n```", None),
    ],
)  # fmt: skip
def test_what_an_answer_says_is_kept(said: str, answer: str | None) -> None:
    text, answer = chat(said, (1,)), answer or said
    assert read_reply(text, WANTED).values["answer"] == answer
    for end in range(len(text) + 1):
        shown = certain_beginning(text[:end], WANTED, "answer")
        assert answer.startswith(shown), (text[:end], shown)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ('[{"text": "Paris"}]', "Paris"),
        ('[{"text": "Paris"}, {"text": "Rome"}]', "Paris, Rome"),
        ('{"city": {"name": "Paris"}}', "Paris"),
        ('{"question": "Where?", "result": {"data": [{"field": "city", "value": "Paris"}]}}',
         "Paris"),
        ('{"city": "Paris", "country": "France"}', '{"city": "Paris", "country": "France"}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reply", ['{{"answer": {}}}', '{{"context": {{"answer": {}}}}}'])
def test_an_answer_that_is_an_object_is_what_it_says(given: str, answer: str, reply: str) -> None:
    text = reply.format(given)
    assert read_reply(text, WANTED).values["answer"] == answer
    for end in range(len(text) + 1):
        shown = certain_beginning(text[:end], WANTED, "answer")
        assert answer.startswith(shown), (text[:end], shown)


@pytest.mark.parametrize("said", ["The answer is:\n{}", "The answer: {}", "The\n\nAnswer: {}"])
@pytest.mark.parametrize("number", ["", "1. ", "1) "])
def test_a_label_that_is_the_first_item_of_a_list_is_not_shown(number: str, said: str) -> None:
    text = number + said.format(ANSWER)
    assert read_reply(text, WANTED, plain=True).values["answer"] == ANSWER
    for end in range(len(text) + 1):
        shown = certain_beginning(text[:end], WANTED, "answer", plain=True)
        assert ANSWER.startswith(shown), (text[:end], shown)
