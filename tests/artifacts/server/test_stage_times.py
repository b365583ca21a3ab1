"""Each answer is told when its retrieval and its language model began and ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.artifacts.server.stage_times import StageTimes, watch_stages
from ragwright.artifacts.store import load

QUESTIONS = ("What is the capital of Peru?", "What is the capital of Chile?")


class Own(dspy.Module):
    """A program of somebody's own around one of ours."""

    def __init__(self, inner: dspy.Module) -> None:
        super().__init__()
        self.inner = inner

    async def aforward(self, question: str) -> Any:
        return await self.inner.acall(question=question)


@pytest.fixture(params=["ours", "own"])
def served(request: pytest.FixtureRequest, home: Path) -> dspy.Module:
    inner = load(home)
    return inner if request.param == "ours" else Own(inner)


def test_every_answer_has_the_times_of_its_own_stages(served: dspy.Module) -> None:
    async def timed(question: str) -> list[tuple[str, float, float]]:
        times = StageTimes()
        with dspy.context(**times.settings(served)):
            await served.acall(question=question)
        return times.spans

    async def at_once() -> list[list[tuple[str, float, float]]]:
        return await asyncio.gather(*map(timed, QUESTIONS))

    watch_stages(served)
    for spans in asyncio.run(at_once()):
        assert [stage for stage, _, _ in spans] == ["retrieve", "generate"]
        assert all(begun <= ended for _, begun, ended in spans)


def test_dspy_tells_of_no_module_of_a_program_of_ours(home: Path) -> None:
    program = load(home)
    assert "callbacks" in StageTimes().settings(program)
    watch_stages(program)
    assert "callbacks" not in StageTimes().settings(program)
    assert "callbacks" in StageTimes().settings(Own(program))
