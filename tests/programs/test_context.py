"""The context never exceeds its budget, and its numbers point at the passages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from programs.context import NUMBER_TOKENS, build_context, passage_tokens
from retrievers.chunking import count_tokens
from retrievers.types import Passage

WORDS = st.lists(st.sampled_from(["a", "passage", "ends.", "here", "naïve", "日本語", "x\n"]))
PASSAGES = st.lists(WORDS.map(lambda words: Passage(" ".join(words), id=str(len(words)))))


@given(PASSAGES, st.integers(NUMBER_TOKENS + 1, 60))
def test_it_never_exceeds_the_budget(passages: list[Passage], budget: int) -> None:
    context = build_context(passages, budget)
    assert sum(count_tokens(text) for text in context.numbered) <= budget
    assert len(context.passages) + context.cut == len(passages)
    assert bool(context.passages) == bool(passages)


@given(PASSAGES, st.integers(64, 200))
def test_number_n_is_the_nth_passage(passages: list[Passage], budget: int) -> None:
    context = build_context(passages, budget)
    for number, (passage, text) in enumerate(
        zip(context.passages, context.numbered, strict=True), start=1
    ):
        assert text == f"[{number}] {passage}"


def test_a_first_passage_that_is_too_long_is_cut_at_a_sentences_end() -> None:
    long = Passage("One two three. Four five six. " + "word " * 100, id="a", score=0.5)
    context = build_context([long, Passage("short", id="b")], 20)
    assert context.passages == ("One two three. Four five six.",)
    assert (context.passages[0].id, context.passages[0].score, context.cut) == ("a", 0.5, 1)


def test_a_passage_without_a_sentences_end_is_cut_at_a_token() -> None:
    context = build_context([Passage("word " * 100)], 14)
    assert context.passages == ("word word word word word word word word word word",)


def test_the_count_that_the_index_keeps_is_used() -> None:
    assert passage_tokens(Passage("a b c", metadata={"tokens": 70})) == 70 + NUMBER_TOKENS
    kept = build_context([Passage("a"), Passage("b", metadata={"tokens": 70})], 64)
    assert (kept.passages, kept.cut) == (("a",), 1)
