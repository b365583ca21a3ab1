"""Replies without end or measure: a sign again and again, a number no counter holds.

A model that fell into a loop writes such texts by itself. Before each was read in a time that grows
by the square of its length; the sizes here would have taken minutes apiece.
"""

from __future__ import annotations

import time

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.labels import tabled
from ragwright.programs.replies.notations import listed_items
from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import LONGEST, UnreadableReply, read_reply
from ragwright.programs.replies.wanted import output_fields
from ragwright.programs.usage import MOST_TOKENS, reported_tokens

SIGNS = 60_000
CONFIDENCE = "[[ ## answer ## ]]\nLima\n\n[[ ## confidence ## ]]\n"
CITATIONS = '{"answer": "Lima", "citations": '


class Cited(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()
    citations: list[int] = dspy.OutputField()
    confidence: float = dspy.OutputField()


@pytest.mark.parametrize("before", ["", CONFIDENCE, CITATIONS, '{"answer": "', "<think>"])
@pytest.mark.parametrize(
    "sign",
    [" ", "\t", "\n", "-", "`", "(", "{", '["', "{'a':", '{"answer": [', '\\"', "1.", "1,", "[1] ",
     "[[ ## ", "[[ ## answer ## ]]\n", "</think>", "<|end|>", "```json\n", "answer", "**", "the "],
)  # fmt: skip
def test_a_sign_without_end_is_read_in_time(before: str, sign: str) -> None:
    text = before + sign * (SIGNS // len(sign))
    began = time.process_time()
    try:
        values = ReplyAdapter().parse(Cited, text)
    except AdapterParseError:
        values = {}
    certain_beginning(text, output_fields(Cited), "answer")
    assert time.process_time() - began < 30
    if before == CONFIDENCE and "answer" in values:
        assert values["answer"].startswith("Lima")


def test_what_stands_before_the_end_that_never_comes_is_read() -> None:
    found = read_reply(f"Lima is the capital.{' ' * SIGNS}", output_fields(Cited))
    assert found.values["answer"] == "Lima is the capital."


def test_a_long_answer_is_whole_and_a_longer_one_is_cut() -> None:
    words = "word " * 20_000
    answer = read_reply(f"[[ ## answer ## ]]\n{words}", output_fields(Cited)).values["answer"]
    assert answer == words.strip()
    quoted = read_reply('{"answer": "' + words + '", "citations": [2]}', output_fields(Cited))
    assert (quoted.values["answer"], quoted.values["citations"]) == (words.strip(), [2])
    assert len(read_reply("x" * 5_000_000, output_fields(Cited)).values["answer"]) == LONGEST


def test_brackets_in_a_string_nest_nothing() -> None:
    said = '{"answer": "' + "[" * 500 + ' is a list", "citations": [1]}'
    assert read_reply(said, output_fields(Cited)).values["citations"] == [1]


@pytest.mark.parametrize(
    "text", ["<a>" * 20_000, "<a>x" * 20_000 + "</b>", "<a>x</a>" * 9000 + "y"]
)
def test_tags_that_nothing_closes_are_no_list_and_soon_read(text: str) -> None:
    began = time.process_time()
    assert listed_items(text) == []
    assert time.process_time() - began < 2
    assert listed_items("<item>a</item>\n<item> b c </item>\n") == ["a", "b c"]


@pytest.mark.parametrize("tag", ["<tr>", "<td>", "<tr><td>", "<table><tr>", "<tr ", "<th x"])
def test_tables_that_nothing_closes_are_soon_read(tag: str) -> None:
    began = time.process_time()
    assert list(tabled(tag * (SIGNS // len(tag)), output_fields(Cited))) == []
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("told", "counted"),
    [(7, 7), (7.0, 7), (10**400, MOST_TOKENS), (-3, 0), (None, 0), ("7", 0), ([], 0),
     (float("nan"), 0), (float("inf"), MOST_TOKENS), (True, 1)],
)  # fmt: skip
def test_tokens_are_what_a_counter_holds(told: object, counted: int) -> None:
    assert reported_tokens(told) == counted


def test_a_reply_that_is_cut_anywhere_leaves_no_half_a_marker() -> None:
    answer = "Lima is the capital"
    whole = f"[[ ## answer ## ]]\n{answer}\n\n[[ ## citations ## ]]\n[1]\n\n[[ ## completed ## ]]"
    for end in range(1, len(whole)):
        try:
            found = read_reply(whole[:end], output_fields(Cited)).values["answer"]
        except UnreadableReply:
            found = ""
        assert answer.startswith(found)
    assert (
        read_reply("Write [[ for a link", output_fields(Cited)).values["answer"]
        == "Write [[ for a link"
    )
