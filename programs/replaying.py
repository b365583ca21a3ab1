"""Replays retrieval: inside a `with` block, stages take their candidates from a pool.

The block also says which knobs hold inside it, by the place of a program's `Knobs`, and notes what
each question asked of which stage. Everything travels in DSPy's own context, which crosses the
threads of DSPy's executors and of asyncio; so any module runs in it unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import dspy

from ragwright.programs.candidates import Candidates
from ragwright.retrievers.types import Where

_POOL, _TRAILS, _QUESTION = "ragwright_pool", "ragwright_trails", "ragwright_question"
_NOTICED = "ragwright_noticed"


class StageQuery(NamedTuple):
    """What a stage was asked.

    Attributes:
        stage: Its identity: what its candidates depend on, besides what follows.
        query: The text.
        where: The filter as JSON; empty for none.
    """

    stage: str
    query: str
    where: str = ""


class CandidateSource(Protocol):
    """Gives a stage's candidates, every replayable signal computed."""

    def candidates(self, stage: Any, query: str, where: Where | None) -> Candidates:
        """Return what the stage finds; what was not asked before is searched for and kept."""
        ...

    def ask(self, stage: Any, query: str, where: Where | None) -> StageQuery:
        """Return under which key that is kept."""
        ...


@dataclass
class Trails:
    """What each question asked of the stages of a program, in order, repetitions left out.

    Attributes:
        asked: By question: the place of the stage's knobs, and what it was asked.
        strangers: What was asked too, and is not found in the program: kinds and indexes.
        made: The signatures of predictors that were asked, and are not found in the program.
        kept: Stages that a question asked, and did not ask when it came again.
    """

    asked: dict[str, list[tuple[str, StageQuery]]] = field(default_factory=dict)
    strangers: set[tuple[str, str]] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def told(self) -> list[str]:
        """What to say of what is not found in the program, one line each."""
        stages = [
            f"A {kind} over {path!r} was asked that is not found in the program, so that its "
            "numbers were not tuned: it is made while the program runs, is dspy.settings.rm, or is "
            "a global that no method names. Make it in __init__, as an attribute (or in a "
            "cached_property that is annotated to return it)."
            for kind, path in sorted(self.strangers)
        ]
        predictors = [
            f"A predictor ({signature}) was asked that is not found in the program, so that its "
            "prompt was not compiled: it is made while the program runs, or stands on its class. "
            "Make it in __init__, as an attribute (or in a cached_property that is annotated to "
            "return it)."
            for signature in sorted(self.made)
        ]
        kept = [
            f"A question that was asked a second time did not ask {place!r} again: the program "
            "keeps what it found where every copy of it finds it (a cache on its class or in its "
            "module), so that no knob shows in its answers. Keep it in the program itself, or take "
            "it out for the compile."
            for place in sorted(self.kept)
        ]
        return [*stages, *predictors, *kept]

    def compare(self, again: Trails, question: str) -> None:
        """Note the stages that a question did not ask when it came again."""
        first, second = ({place for place, _ in trails.asked.get(question, ())}
                         for trails in (self, again))  # fmt: skip
        self.kept |= {place.removesuffix(".knobs") for place in first - second}

    def note(self, question: str, place: str, ask: StageQuery) -> None:
        """Add what a question asked of a stage."""
        with self._lock:
            found = self.asked.setdefault(question, [])
            if (place, ask) not in found:
                found.append((place, ask))

    def __deepcopy__(self, memo: dict[int, Any]) -> Trails:
        """DSPy may copy its context; all threads note into the same trails."""
        return self


@contextmanager
def replay_from_pool(pool: CandidateSource, trails: Trails | None = None) -> Iterator[None]:
    """Let every stage take its candidates from a pool inside; note what is asked in `trails`."""
    with dspy.context(**{_POOL: pool, _TRAILS: trails}):
        yield


@contextmanager
def question_being_asked(question: str) -> Iterator[None]:
    """Say that what stages are asked inside belongs to this question, by its id."""
    with dspy.context(**{_QUESTION: question}):
        yield


def note_foreign_predictor(signature: str) -> None:
    """Note a predictor that the program which is being asked does not hold."""
    trails = dspy.settings.get(_TRAILS)
    if trails is not None and dspy.settings.get(_QUESTION) is not None:
        trails.made.add(signature)


class StageUse:
    """Whether any stage was asked."""

    def __init__(self) -> None:
        self.stage = False

    def __deepcopy__(self, memo: dict[int, Any]) -> StageUse:
        """DSPy may copy its context; all threads tell the same."""
        return self


@contextmanager
def notice_stage_use() -> Iterator[StageUse]:
    """Notice whether a stage is asked inside, where a pool is in use."""
    around: StageUse | None = dspy.settings.get(_NOTICED)
    noticed = StageUse()
    with dspy.context(**{_NOTICED: noticed}):
        yield noticed
    if around is not None:
        around.stage = around.stage or noticed.stage


def pool_in_use() -> CandidateSource | None:
    """Return the pool to take candidates from, if there is one."""
    found: CandidateSource | None = dspy.settings.get(_POOL)
    return found


def candidates_from_pool(
    pool: CandidateSource, stage: Any, query: str, where: Where | None
) -> Candidates:
    """Take a stage's candidates from the pool, and note that they were asked for."""
    found = pool.candidates(stage, query, where)
    if (noticed := dspy.settings.get(_NOTICED)) is not None:
        noticed.stage = True
    trails, question = dspy.settings.get(_TRAILS), dspy.settings.get(_QUESTION)
    if trails is not None and question is not None:
        if stage.knobs.place:
            trails.note(question, stage.knobs.place, pool.ask(stage, query, where))
        else:
            trails.strangers.add((type(stage).__name__, stage.path))
    return found
