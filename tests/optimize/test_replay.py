"""A stored pool, replayed, is the live program over a real index: ids, order and scores."""

from __future__ import annotations

import random
from pathlib import Path

import dspy
import numpy as np
import pytest

from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.optimize.retrieval.replay import added_neighbours
from ragwright.programs.build import build_program
from ragwright.programs.knobs import KnobValues
from ragwright.programs.lm import build_lm
from ragwright.programs.replaying import replay_from_pool
from ragwright.programs.selection import pack_context, select
from ragwright.retrievers.chunking import count_tokens
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import Chunk, Passage

from .conftest import lines, recipe


def drawn(seed: int) -> KnobValues:
    draw = random.Random(seed)
    return KnobValues(
        weight_dense=draw.uniform(0.01, 1),
        weight_bm25=draw.random(),
        weight_maxsim=draw.choice([0.0, draw.random()]),
        fusion=draw.choice(["rrf", "convex"]),
        depth_dense=draw.randint(1, 100),
        depth_bm25=draw.randint(1, 100),
        rerank_depth=draw.randint(1, 60),
        k=draw.randint(1, 12),
        score_threshold=draw.choice([0.0, 0.5]),
        diversity=draw.choice([0.0, 0.2, 0.7]),
        context_tokens=draw.choice([64, 120, 2000]),
        neighbours=draw.choice([0, 1, 2]),
        order=draw.choice(["rank", "document", "edges"]),
    )


PLAIN = {"weight_dense": 1.0, "weight_bm25": 0.0, "weight_maxsim": 0.0, "depth_dense": 100,
         "score_threshold": 0.0, "diversity": 0.0}  # fmt: skip
"""What plain dense retrieval does, whatever its knobs say."""


def pieces_of(path: str, passage: Passage) -> list[Chunk]:
    """The chunks that a passage in the context is made of."""
    start, end = int(passage.metadata["start"]), int(passage.metadata["end"])
    chunks = open_index(path).document(passage.document)
    pieces = [chunk for chunk in chunks if chunk.start >= start and chunk.end <= end]
    assert "".join(chunk.text for chunk in pieces) == passage
    return pieces


@pytest.mark.parametrize("kind", ["hybrid", "rerank"])
def test_a_pool_from_disk_replays_the_live_program(world: Path, kind: str) -> None:
    program = build_program(recipe(world, program={"kind": kind}))
    questions = [line["question"] for line in lines()[:4]]
    for _ in range(2):  # The second time everything is read from disk
        pool = CandidatePool()
        candidates = pool.gathered(program.retriever, questions)
        pool.save()
    assert pool.fetched == 0
    varied = 0
    for seed in range(25):
        knobs = drawn(seed)
        program.knobs.values = knobs
        replayed = select(candidates, knobs)
        plain = select(candidates, knobs.replaced(diversity=0.0))
        varied += bool(knobs.diversity) and (replayed.columns != plain.columns).any()
        for row, question in enumerate(questions):
            found = program.retriever(question)
            columns = [column for column in replayed.columns[row] if column >= 0]
            assert found.ids == [candidates.ids[row][column] for column in columns]
            assert found.scores == replayed.scores[row][: len(columns)].tolist()
    assert varied >= 5


@pytest.mark.parametrize("kind", ["rag", "hybrid", "rerank"])
def test_the_context_that_a_pool_tells_is_what_the_live_program_reads(
    world: Path, kind: str
) -> None:
    bench = recipe(world, program={"kind": kind})
    program, path = build_program(bench), bench.index.path
    questions = [line["question"] for line in lines()[:3]]
    pool, extended = CandidatePool(), 0
    stored = pool.gathered(program.retriever, questions)
    lm = build_lm("extractive", embedder="hash")
    for seed in range(30):
        knobs = drawn(seed).replaced(**(PLAIN if kind == "rag" else {}))
        program.knobs.values = knobs
        ranking = select(stored, knobs)
        fits = pack_context(stored, ranking, knobs.context_tokens)
        seen = np.where(fits, ranking.columns, -1)
        beside = list(added_neighbours(stored, seen, knobs))
        extended += bool(beside)
        for row, question in enumerate(questions):
            with dspy.context(lm=lm):
                live = program(question)
                with replay_from_pool(pool):
                    replayed = program(question)
            assert live.context == replayed.context
            ids = stored.ids[row]
            expected = {ids[column]: {ids[column]} for column in seen[row] if column >= 0}
            for _, rank, id in [item for item in beside if item[0] == row]:
                expected[ids[seen[row, rank]]].add(id)
            read = {p.id: {piece.id for piece in pieces_of(path, p)} for p in live.passages}
            assert read == expected
            every = [id for some in read.values() for id in some]
            assert len(every) == len(set(every))
            assert sum(count_tokens(text) for text in live.context) <= knobs.context_tokens
    assert extended >= 5
