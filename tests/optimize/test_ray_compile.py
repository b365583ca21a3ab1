"""A compile whose calls are made by the workers of a Ray cluster: the same result, capped alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ragwright.optimize import CompileResult, Run, compile_program
from ragwright.optimize.spending.budget import Caps
from ragwright.retrievers.cluster import Crew, ray_cluster
from ragwright.retrievers.errors import CompileError

from .conftest import recipe
from .scripted import Writing, few

pytestmark = pytest.mark.skipif("RAGWRIGHT_RAY" not in os.environ, reason="make attack")


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with ray_cluster(2) as joined:
        yield joined


def answers(result: CompileResult) -> dict[str, list[tuple[str, float]]]:
    return {
        name: [(row.answer, row.score) for row in one.rows] for name, one in result.test.items()
    }


@pytest.mark.usefixtures("few_are_enough")
def test_a_compile_by_workers_is_the_same_and_pays_once(
    crew: Crew, world: Path, tmp_path: Path
) -> None:
    with Writing() as server:
        lm = {"model": "openai/scripted", "api_base": server.url, "temperature": 0.0}
        how, calls = recipe(world, lm=lm), tmp_path / "calls.sqlite"
        run = Run(tmp_path / "capped", caps=Caps(calls=30), calls=calls, crew=crew)
        with pytest.raises(CompileError, match="calls"):
            compile_program(how, few(world), run=run)
        assert len(server.calls) <= 30
        run = replace(run, caps=Caps(calls=400), resume=True)
        shared = compile_program(how, few(world), run=run)
        paid = len(server.calls)
        assert sum(stage.calls for stage in shared.spend) == paid
        alone = compile_program(how, few(world), run=Run(tmp_path / "alone", calls=calls))
        assert len(server.calls) == paid  # one process meets what workers were told
        assert answers(alone) == answers(shared)
        assert alone.chosen == shared.chosen
