"""What the offline reader does with texts, questions and scripts of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.programs.extractive.answering import find_answer, is_foreign_script
from ragwright.programs.extractive.network import Network, OnnxNetwork, OpenVinoNetwork
from ragwright.programs.extractive.prompt import ParsedPrompt, RequestedField
from ragwright.programs.extractive.reader import load_reader, widen_to_words
from ragwright.programs.extractive.weights import load_weights
from ragwright.programs.extractive.windows import READ_WORDS, windows_of
from ragwright.retrievers.embedding.openvino_engine import openvino_has_bfloat16

FACT = "The lighthouse of Nida was built in 1874 by Wilhelm Krause."
FILLER = "Ships passed the sandy coast in all weathers, and gulls cried over the dunes. "


def asked(question: str, *passages: str) -> ParsedPrompt:
    wanted = (RequestedField("answer", "str"),)
    return ParsedPrompt(question, passages, wanted, (), as_json=False, others={}, instructions="")


def test_what_runs_the_network_makes_no_difference() -> None:
    pytest.importorskip("openvino")
    weights = load_weights()
    ids = np.array([[101, 2040, 2003, 102, 4862, 102], [101, 2054, 102, 3000, 102, 0]])
    mask = (ids > 0).astype(np.int64)
    types = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]])
    networks: list[Network] = [
        OpenVinoNetwork(weights, bfloat16=openvino_has_bfloat16()),
        OnnxNetwork(weights),
    ]
    first, second = (network.scores(ids, mask, types) for network in networks)
    assert first.shape == (2, 6, 2)
    rounding = 0.2 if openvino_has_bfloat16() else 1e-3  # over 64 passages of SQuAD: 0.14 and 2e-5
    assert np.allclose(first[mask > 0], second[mask > 0], atol=rounding)


@pytest.mark.parametrize("before", [0, 5, 40])
@pytest.mark.parametrize("after", [0, 40])
def test_a_fact_is_found_wherever_it_stands_in_a_long_passage(before: int, after: int) -> None:
    found = find_answer(
        asked(
            "When was the lighthouse of Nida built?", FILLER * before + FACT + " " + FILLER * after
        )
    )
    assert (found.answer, found.sentence, found.passages) == ("1874", FACT, (1,))


def test_only_so_much_is_read_whatever_the_passages_are() -> None:
    windows = windows_of("Who built the lighthouse?", [FILLER * 300] * 20)
    assert sum(len(window.text.split()) for window in windows) <= READ_WORDS


def test_the_passage_that_holds_the_answer_is_cited_first() -> None:
    found = find_answer(asked("Who built the lighthouse of Nida?", FILLER, "Paris is old.", FACT))
    assert (found.answer, found.passages[0]) == ("Wilhelm Krause", 3)


def test_a_question_longer_than_a_window_is_read_at_its_end() -> None:
    story = "I went to the sea with my aunt, and we talked about her garden. " * 60
    found = find_answer(asked(f"{story}When was the lighthouse of Nida built?", FACT))
    assert found.answer.startswith("1874")


def test_what_the_passages_do_not_say_has_less_confidence() -> None:
    told = find_answer(asked("When was the lighthouse of Nida built?", FACT))
    untold = find_answer(asked("What does a tram ticket cost in Lisbon?", FACT))
    assert told.confidence > 0.5 > untold.confidence


@pytest.mark.parametrize(
    ("question", "others", "sentence"),
    [
        ("\u6771\u4eac\u306e\u4eba\u53e3\u306f\uff1f", "\u7b11\u3046\u3002", "東京の人口は多い。"),
        ("Где находится Кремль?", "Погода хороша. ", "Кремль находится в Москве."),
    ],
)
def test_in_other_scripts_a_whole_sentence_answers(
    question: str, others: str, sentence: str
) -> None:
    passage = others + sentence
    assert is_foreign_script(question)
    found = find_answer(asked(question, passage))
    assert found.answer == sentence
    assert found.confidence <= 0.5


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200), st.lists(st.text(max_size=300), max_size=4))
def test_any_text_is_answered_with_what_stands_in_it(question: str, passages: list[str]) -> None:
    found = find_answer(asked(question, *passages))
    assert 0 <= found.confidence <= 1
    assert all(1 <= number <= len(passages) for number in found.passages)
    if found.found:
        told = "".join(" ".join(passages).split())
        assert "".join(found.answer.split()) in told or found.answer == found.sentence


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=60), st.data())
def test_a_widened_span_stays_inside_its_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    first, last = widen_to_words(text, start, end)
    assert 0 <= first <= len(text)
    assert last <= len(text)


@pytest.mark.parametrize(
    ("text", "inside", "span"),
    [
        ("It has casefold() too.", "casefo", "casefold"),
        ('He said "yes." Then left.', '"yes."', '"yes."'),
        ("in 1974 (the last year).", "year)", "year"),
        ("Ask Dr. J. R. Smith Jr. soon", "Smith Jr.", "Smith Jr."),
        ("It rained.", "It rained.", "It rained"),
    ],
)
def test_spans_are_whole_words(text: str, inside: str, span: str) -> None:
    start, end = widen_to_words(text, text.index(inside), text.index(inside) + len(inside))
    assert text[start:end] == span


def test_an_empty_text_has_no_spans() -> None:
    assert load_reader().read("Who?", ["", "  "]) == [(), ()]
