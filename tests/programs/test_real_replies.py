"""Replies that SmolLM2-135M-Instruct really wrote: read, or not, and streamed alike."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ragwright.programs.replies.learned import Manners
from ragwright.programs.replies.partial import so_far
from ragwright.programs.replies.reader import Unreadable, read
from ragwright.programs.replies.wanted import wanted_by
from ragwright.programs.signatures import AnswerWithCitations

WANTED = wanted_by(AnswerWithCitations)
REPLIES = json.loads(Path(__file__).with_name("real_replies.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("place", range(len(REPLIES)))
@pytest.mark.parametrize("size", [1, 3])
def test_what_is_streamed_of_a_real_reply_begins_what_is_read_in_it(place: int, size: int) -> None:
    text, plain = REPLIES[place]["reply"], REPLIES[place]["asked_as"] == "plain"
    try:
        answer = read(text, WANTED, plain=plain).values["answer"]
    except Unreadable:
        answer = ""
    for end in range(0, len(text) + size, size):
        shown = so_far(text[:end], WANTED, "answer", plain=plain)
        assert answer.startswith(shown), (text[:end], shown)


def test_a_program_is_no_answer_unless_nothing_but_the_answer_was_asked_for() -> None:
    unread: Counter[str] = Counter()
    for one in REPLIES:
        try:
            answer = read(one["reply"], WANTED, plain=one["asked_as"] == "plain").values["answer"]
        except Unreadable:
            unread[one["asked_as"]] += 1
        else:
            assert not answer.startswith(("```", "import ", "def "))
    # Of the last form, the one that says no more than "The answer to this question is:".
    assert unread["plain"] == 1


def test_a_model_that_writes_programs_is_soon_asked_for_the_answer_alone() -> None:
    manners = Manners("smollm2")
    for form in ("chat", "json"):
        for one in [one for one in REPLIES if one["asked_as"] == form]:
            try:
                manners.read(form, read(one["reply"], WANTED).how)
            except Unreadable:
                manners.lost([form])
    assert manners.order("auto", ("chat", "json", "plain"))[0] == "plain"
