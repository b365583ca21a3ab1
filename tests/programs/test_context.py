"""The context never exceeds its budget, and its numbers point at the passages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragwright.programs.candidates import Candidates
from ragwright.programs.context import NUMBER_TOKENS, ORDERS, build_context, passage_tokens
from ragwright.programs.knobs import KnobValues, Order
from ragwright.programs.neighbours import ChunkFacts, Surroundings, hash_text
from ragwright.programs.selection import pack_context, select
from ragwright.retrievers.chunking import count_tokens
from ragwright.retrievers.types import Passage

WORDS = st.lists(st.sampled_from(["a", "passage", "ends.", "here", "naïve", "日本語", "x\n"]))
PASSAGES = st.lists(WORDS.map(lambda words: Passage(" ".join(words), id=str(len(words)))))


ORDER = st.sampled_from(list(ORDERS))


@given(PASSAGES, st.integers(NUMBER_TOKENS + 1, 60), ORDER)
def test_it_never_exceeds_the_budget(passages: list[Passage], budget: int, order: Order) -> None:
    context = build_context(passages, budget, order=order)
    assert sum(count_tokens(text) for text in context.numbered) <= budget
    assert len(context.passages) + len(context.cut) == len(passages)
    assert bool(context.passages) == bool(passages)


@given(PASSAGES, st.integers(64, 200), ORDER)
def test_number_n_is_the_nth_passage(passages: list[Passage], budget: int, order: Order) -> None:
    context = build_context(passages, budget, order=order)
    for number, (passage, text) in enumerate(
        zip(context.passages, context.numbered, strict=True), start=1
    ):
        assert text == f"[{number}] {passage}"


@given(st.lists(st.integers(1, 90), max_size=12), st.integers(64, 200))
def test_it_packs_what_the_selection_says_is_packed(sizes: list[int], budget: int) -> None:
    ids = [f"p{place}" for place in range(len(sizes))]
    passages = [
        Passage(f"{id} " * size, id=id, metadata={"tokens": size})
        for id, size in zip(ids, sizes, strict=True)
    ]
    tokens = {id: size + NUMBER_TOKENS for id, size in zip(ids, sizes, strict=True)}
    scores = {id: 1 - place / 100 for place, id in enumerate(ids)}
    around = Surroundings({}, {p.id: ChunkFacts(10, hash_text(p)) for p in passages})
    candidates = Candidates.union(scores, {}, tokens).with_around(around)
    ranking = select(candidates, KnobValues.dense(k=12))
    taken = pack_context(candidates, ranking, budget)[0]
    expected = [id for id, kept in zip(ids, taken, strict=False) if kept]
    assert [passage.id for passage in build_context(passages, budget).passages] == expected


def test_the_orders() -> None:
    def at(id: str, document: str, start: int) -> Passage:
        return Passage(id, id=id, metadata={"document": document, "start": start})

    ranked = [at("1", "b", 50), at("2", "a", 9), at("3", "b", 0), at("4", "a", 0), at("5", "c", 0)]
    said = {
        order: "".join(passage.id for passage in build_context(ranked, 500, order=order).passages)
        for order in ORDERS
    }
    assert said == {"rank": "12345", "document": "31425", "edges": "13542"}


def test_a_passage_that_does_not_fit_is_passed_over_for_a_smaller_one() -> None:
    passages = [Passage(id, id=id, metadata={"tokens": n}) for id, n in
                (("a", 50), ("b", 60), ("c", 10))]  # fmt: skip
    context = build_context(passages, 100)
    assert (context.passages, context.cut) == (("a", "c"), ("b",))


def test_the_same_text_from_two_documents_fills_the_context_once() -> None:
    passages = [Passage("same", id="a"), Passage("other", id="b"), Passage("same", id="c")]
    context = build_context(passages, 500)
    assert (context.passages, context.cut) == (("same", "other"), ("c",))
    long = Passage("One two three. " * 100, id="a")
    assert build_context([long, Passage(str(long), id="b")], 64).cut == ("b",)


def test_a_first_passage_that_is_too_long_is_cut_at_a_sentences_end() -> None:
    long = Passage("One two three. Four five six. " + "word " * 100, id="a", score=0.5)
    context = build_context([long, Passage("short", id="b")], 20)
    assert context.passages == ("One two three. Four five six.",)
    assert (context.passages[0].id, context.passages[0].score) == ("a", 0.5)
    assert (context.cut, context.truncated) == (("b",), True)


def test_a_passage_without_a_sentences_end_is_cut_at_a_token() -> None:
    context = build_context([Passage("word " * 100)], 14)
    assert context.passages == ("word word word word word word word word word word",)


def test_the_count_that_the_index_keeps_is_used() -> None:
    assert passage_tokens(Passage("a b c", metadata={"tokens": 70})) == 70 + NUMBER_TOKENS
    kept = build_context([Passage("a"), Passage("b", id="b", metadata={"tokens": 70})], 64)
    assert (kept.passages, kept.cut) == (("a",), ("b",))
