from __future__ import annotations

import numpy as np
import pytest

from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.labels import label
from ragwright.optimize.retrieval.relevance import Relevance, gains
from ragwright.programs.candidates import Candidates
from ragwright.retrievers.types import Chunk


def chunks(**documents: list[str]) -> list[Chunk]:
    made = []
    for document, texts in documents.items():
        start = 0
        for text in texts:
            made.append(Chunk(document, start, start + len(text), text))
            start += len(text)
    return made


def ask(**values: object) -> Question:
    return Question(**{"id": "1", "question": "q", "answers": ("blue",), **values})  # type: ignore[arg-type]


CORPUS = chunks(
    a=["The sky is\nblue at noon. ", "At night it is black, and the stars ", "can be seen."],
    b=["The sea is green or blue. ", "It is deep."],
)
IDS = [chunk.id for chunk in CORPUS]


def held(question: Question) -> dict[int, set[int]]:
    labels = label([question], CORPUS)
    return {IDS.index(key): set(facts) for key, facts in labels.facts[0].items()}


def test_evidence_is_found_whatever_its_white_space() -> None:
    assert held(ask(evidence=("sky is blue  at",))) == {0: {0}}


def test_evidence_wins_over_documents_and_documents_over_answers() -> None:
    both = ask(evidence=("It is deep.",), documents=("a",))
    assert held(both) == {4: {0}}
    assert held(ask(documents=("a",))) == {0: {0}, 1: {0}, 2: {0}}
    assert held(ask()) == {0: {0}, 3: {0}}


def test_answers_are_found_as_whole_words() -> None:
    assert held(ask(answers=("BLACK, and",))) == {1: {0}}
    assert held(ask(answers=("lack",))) == {}


@pytest.mark.parametrize("answer", ["No.", "yes", "True", "not in the documents"])
def test_what_answers_anything_labels_no_passage(answer: str) -> None:
    said = chunks(a=[f"That is {answer} {n}. " for n in range(3)])
    labels = label([ask(answers=(answer,)), ask(answers=(answer, "2"))], said)
    assert [set(facts) for facts in labels.facts] == [set(), {said[2].id}]
    assert labels.described == "1 answer, 1 without"


def test_an_answer_that_stands_in_very_many_passages_labels_none() -> None:
    said = chunks(a=[f"{'blue' * (n < 25)} {n}. " for n in range(100)])
    asked = [ask(answers=("blue",)), ask(answers=("24",))]
    assert [len(facts) for facts in label(asked, said).facts] == [0, 1]


def test_evidence_that_was_cut_in_two_is_held_by_the_larger_part() -> None:
    snippet = "night it is black, and the stars can be seen"
    assert held(ask(evidence=(snippet,), documents=("a",))) == {1: {0}}
    assert held(ask(evidence=(snippet,), documents=("b",))) == {}
    assert held(ask(evidence=("the stars can",), documents=("a",))) == {}


def test_facts_that_no_chunk_holds_are_not_asked_for() -> None:
    labels = label([ask(evidence=("no such text", "It is deep.")), ask(evidence=("none",))], CORPUS)
    assert labels.ideal.tolist() == [[1.0], [0.0]]
    assert labels.ideal.any(axis=1).tolist() == [True, False]


def test_the_ideal_takes_the_richest_chunk_first() -> None:
    labels = label([ask(evidence=("The sky", "blue at noon", "It is deep", "seen"))], CORPUS)
    assert labels.ideal.tolist() == [[2.0, 1.0, 1.0, 0.0]]


def ranked(question: Question, *order: int) -> list[float]:
    labels = label([question], CORPUS)
    tokens = np.ones((1, len(IDS)), dtype=np.int64)
    relevance = Relevance.of(labels, Candidates((tuple(IDS),), {}, tokens))
    return gains(relevance, np.array([order], dtype=np.int64))[0].tolist()


def test_a_fact_gains_only_the_first_time() -> None:
    assert ranked(ask(), 4, 3, 0, -1) == [0.0, 1.0, 0.0, 0.0]


def test_further_chunks_of_a_document_take_up_no_rank() -> None:
    assert ranked(ask(documents=("b",)), 0, 1, 2, 3, 4) == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert ranked(ask(documents=("b", "a")), 3, 4, 1) == [1.0, 1.0, 0.0]


def test_further_chunks_do_take_up_ranks_where_evidence_is_wanted() -> None:
    assert ranked(ask(evidence=("It is deep.",)), 0, 1, 2, 3, 4) == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_kinds_are_counted() -> None:
    labels = label([ask(), ask(), ask(documents=("a",))], CORPUS)
    assert labels.described == "2 answer, 1 documents"


def test_several_facts_of_a_question_may_all_stand_in_one_chunk() -> None:
    labels = label([ask(evidence=("The sky", "is blue", "at noon"))], CORPUS)
    tokens = np.full((1, len(IDS)), 10, dtype=np.int64)
    relevance = Relevance.of(labels, Candidates((tuple(IDS),), {}, tokens))
    assert relevance.facts[0, 0].tolist() == [True] * 3
    assert gains(relevance, np.array([[0, 1]])).tolist() == [[3.0, 0.0]]
    assert labels.ideal.tolist() == [[3.0, 0.0, 0.0]]
