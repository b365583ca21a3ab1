"""Small chunks with parents, the whole way: pool, replay, labels, packing, compile, citations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest

from ragwright.optimize import compile_program
from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.retrieval.labels import label
from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.programs.build import build_program
from ragwright.programs.context import NUMBER_TOKENS
from ragwright.programs.lm import build_lm
from ragwright.programs.recipe import Recipe
from ragwright.programs.selection import select
from ragwright.retrievers.chunking import ChunkSettings, chunk, count_tokens, parent_chunks
from ragwright.retrievers.index import IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import ingest

from .conftest import documents, lines, recipe
from .scripted import small
from .test_replay import drawn

CUT = ChunkSettings(size=10, parent_size=24, headers=False)


@pytest.fixture(scope="module")
def families(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The index of the small world, searched by pieces of sentences."""
    path = str(tmp_path_factory.mktemp("families") / "index")
    ingest(documents(), path, IndexSettings(embedder="hash", chunking=CUT))
    yield path
    close_index(path)


def with_parents(world: Path, path: str, **sections: dict[str, object]) -> Recipe:
    index = {"path": path, "embedder": "hash", "chunking": CUT.model_dump()}
    return recipe(world, index=index, **sections)


@pytest.mark.parametrize("kind", ["hybrid", "rerank"])
def test_a_pool_of_parents_replays_the_live_program(world: Path, families: str, kind: str) -> None:
    program = build_program(with_parents(world, families, program={"kind": kind}))
    questions = [line["question"] for line in lines()[:3]]
    candidates = CandidatePool().gathered(program.retriever, questions)
    lengths = {one.id: count_tokens(one.text) for one in open_index(families).chunks()}
    for ids, tokens in zip(candidates.ids, candidates.tokens.tolist(), strict=True):
        assert len(set(ids)) == len(ids)
        assert tokens[: len(ids)] == [lengths[id] + NUMBER_TOKENS for id in ids]
    for seed in range(20):
        program.knobs.values = drawn(seed)
        replayed = select(candidates, program.knobs.values)
        for row, question in enumerate(questions):
            found = program.retriever(question)
            columns = [column for column in replayed.columns[row] if column >= 0]
            assert found.ids == [candidates.ids[row][column] for column in columns]
            assert found.scores == replayed.scores[row][: len(columns)].tolist()


def test_labels_are_of_parents(world: Path, families: str) -> None:
    questions = read_questions(world / "questions.jsonl").questions
    labels = label(questions, open_index(families).chunks())
    assert labels.ideal.any(axis=1).all()
    texts = {parent.id: parent.text for one in documents() for parent in parent_chunks(one, CUT)}
    for question, facts in zip(questions, labels.facts, strict=True):
        assert facts.keys() <= texts.keys()
        assert any(question.answers[0] in texts[id] for id in facts)
    pieces = [piece for one in documents() for piece in chunk(one, CUT)]
    assert len(pieces) > 2 * len(texts)


def test_what_is_asked_is_answered_from_the_parents(world: Path, families: str) -> None:
    program = build_program(
        with_parents(world, families), lm=build_lm("extractive", embedder="hash")
    )
    question = lines()[0]
    reply = program(question=question["question"])
    assert question["answer"] in reply.answer
    whole = {
        one.text: one.facts for document in documents() for one in parent_chunks(document, CUT)
    }
    cited = reply.passages[reply.citations[0] - 1]
    assert question["answer"] in cited
    facts = whole[str(cited)]
    assert {key: cited.metadata[key] for key in facts} == facts
    assert len(reply.passages) == program.knobs.values.k
    program.knobs.values = program.knobs.values.replaced(context_tokens=64)
    kept = program(question=question["question"]).passages
    cost = [count_tokens(passage) + NUMBER_TOKENS for passage in kept]
    assert sum(cost) <= 64 < sum(cost) + min(count_tokens(text) for text in whole)
    assert len(kept) < len(reply.passages)


def test_a_program_over_parents_compiles(world: Path, families: str, tmp_path: Path) -> None:
    narrow = {"retrieval_trials": 4, "optimizer": "labeled", "shortlist": 1}
    wanted = with_parents(world, families, compile=narrow)
    result = compile_program(wanted, small(world), run_dir=tmp_path / "run")
    assert result.compiled.rows
    whole = {one.text for document in documents() for one in parent_chunks(document, CUT)}
    with dspy.context(lm=build_lm("extractive", embedder="hash")):
        found = result.program(question=lines()[2]["question"])
    assert {str(passage) for passage in found.passages} <= whole
    assert result.recipe.index.chunking == CUT
