"""Chunks and shortened passages end between words of every script, in time linear in the length."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ragwright.programs.context import truncate_passage
from ragwright.retrievers.chunking import ChunkSettings, chunk
from ragwright.retrievers.text import cut_at_sentence, cut_before, sentence_ends
from ragwright.retrievers.types import Document, Passage

SPACED = [
    "Mitarbeiterinnen erhalten Urlaubsansprüche. ",
    "कर्मचारियों को तीस दिन की छुट्टी मिलती है। ",
    "الموظفون يحصلون على ثلاثين يوما؟ ",
    "Сотрудники получают отпуск. ",
    "직원은 연간 30일의 유급휴가를 받습니다. ",
    "Nhân viên được nghỉ phép ba mươi ngày; ",
]
UNSPACED = [
    "员工每年有三十天带薪年假。",
    "従業員は有給休暇を取得できます！",
    "พนักงานมีวันลาพักร้อนสามสิบวันต่อปี",
    "បុគ្គលិកមានថ្ងៃឈប់សម្រាក។",
    "👩‍👩‍👧‍👦🇩🇪é́",
]
TEXTS = st.lists(st.sampled_from(SPACED + UNSPACED), min_size=1, max_size=30).map("".join)
KINDS = st.sampled_from(["recursive", "levels", "markdown", "token"])
_BORDER = regex.compile(r"\b", regex.V1 | regex.WORD)
_CLUSTER = regex.compile(r"\X")


def borders(text: str) -> set[int]:
    return {match.start() for match in _BORDER.finditer(text)} | {0, len(text)}


@given(TEXTS, st.sampled_from(["recursive", "levels", "markdown"]), st.integers(16, 60))
def test_no_word_of_any_script_is_cut(text: str, kind: str, size: int) -> None:
    whole = borders(text)
    for piece in chunk(Document("d", text), ChunkSettings(kind=kind, size=size)):
        spaces = {piece.start, piece.end} - whole
        assert all(text[at - 1].isspace() or text[at].isspace() for at in spaces)


@given(TEXTS, KINDS, st.integers(40, 60))
def test_no_character_that_readers_see_is_cut(text: str, kind: str, size: int) -> None:
    whole = {match.start() for match in _CLUSTER.finditer(text)} | {len(text)}
    for piece in chunk(Document("d", text), ChunkSettings(kind=kind, size=size)):
        assert {piece.start, piece.end} <= whole


@given(TEXTS, st.integers(1, 200))
def test_a_shortened_passage_ends_at_a_word(text: str, tokens: int) -> None:
    found = str(truncate_passage(Passage(text), tokens))
    assert text.startswith(found)
    assert len(found) in borders(text) or len(found) < 30


@given(st.text(), st.integers(0, 50), st.integers(0, 50))
def test_a_cut_goes_back_and_past_the_one_before(text: str, place: int, after: int) -> None:
    place = min(place, len(text))
    if after < place:
        assert after < cut_before(text, place, after) <= place


@pytest.mark.parametrize(
    ("text", "place", "kept"),
    [
        ("One two. Three four", 14, "One two."),
        ("Pi is 3.14 and more", 9, "Pi is"),
        ("你好。再见了朋友", 5, "你好。"),
        ("यह है। और वह", 9, "यह है।"),
        ('He said "yes." And', 16, 'He said "yes."'),
        ("whole", 9, "whole"),
    ],
)
def test_texts_are_shortened_at_sentences(text: str, place: int, kept: str) -> None:
    assert cut_at_sentence(text, place) == kept


def test_sentences_end_at_the_terminators_of_their_script() -> None:
    text = "Hello 3.14. 你好。再见！क्या? हाँ। ok"
    ends = [0, *sentence_ends(text), len(text)]
    pieces = [text[start:end] for start, end in pairwise(ends)]
    assert pieces == ["Hello 3.14. ", "你好。", "再见！", "क्या? ", "हाँ। ", "ok"]


@pytest.mark.parametrize("letters", ["员工每年有三十天带薪年假", "พนักงานมีวันลาพักร้อน", "abcdefgh"])
def test_time_grows_with_the_length_alone(letters: str) -> None:
    def taken(times: int) -> float:
        text = letters * (4000 * times)
        started = time.process_time()
        assert len(chunk(Document("d", text), ChunkSettings())) > 10
        return time.process_time() - started

    # Four times as long is four times as much, or sixteen times if it grows with the square.
    once = max(min(taken(1) for _ in range(3)), 0.05)
    assert min(taken(4) for _ in range(3)) < 12 * once


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0"])
@pytest.mark.parametrize("kind", ["recursive", "token"])
def test_a_million_spaces_are_no_matter(space: str, kind: str) -> None:
    document = Document("a", f"kept{space * 1_000_000}end")
    pieces = chunk(document, ChunkSettings(kind=kind, size=20))
    assert pieces[0].text.startswith("kept")
    assert pieces[-1].text.endswith("end")
