"""A stored pool, replayed, is the live program over a real index: ids, order and scores."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from optimize.pool import PoolKey, build_pool
from programs.build import build_program, gather
from programs.knobs import KnobValues
from programs.selection import select

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
    )


@pytest.mark.parametrize("kind", ["hybrid", "rerank"])
def test_a_pool_from_disk_replays_the_live_program(world: Path, tmp_path: Path, kind: str) -> None:
    program = build_program(recipe(world, program={"kind": kind}))
    questions = [line["question"] for line in lines()[:4]]
    for _ in range(2):  # The second time everything is read from disk
        pool = build_pool(
            questions,
            lambda question: gather(program, question),
            key=PoolKey("towns", kind),
            folder=tmp_path,
        )
    assert pool.fetched == 0
    varied = 0
    for seed in range(25):
        knobs = drawn(seed)
        program.knobs.values = knobs
        replayed = select(pool.candidates, knobs)
        plain = select(pool.candidates, knobs.replaced(diversity=0.0))
        varied += bool(knobs.diversity) and (replayed.columns != plain.columns).any()
        for row, question in enumerate(questions):
            found = program.retriever(question)
            columns = [column for column in replayed.columns[row] if column >= 0]
            assert found.ids == [pool.candidates.ids[row][column] for column in columns]
            assert found.scores == replayed.scores[row][: len(columns)].tolist()
    assert varied >= 5
