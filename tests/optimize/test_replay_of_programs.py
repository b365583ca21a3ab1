"""For random programs of two or three stages, replaying is searching: ids and order, one by one.

Also where a prompt writes the queries, or one stage asks what another found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragwright.optimize.memo import Memo, answer_from_memo, memoize_retrievers
from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.optimize.setting import Setting
from ragwright.optimize.workbench import copy_with_named_knobs
from ragwright.programs.hybrid import DenseRetriever, HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues, hold_knobs
from ragwright.programs.lm import build_lm
from ragwright.programs.multihop import MultiHopRetriever
from ragwright.programs.replaying import Trails, question_being_asked, replay_from_pool
from ragwright.programs.rerank import MaxSim, RerankRetriever
from ragwright.retrievers.result import RetrievalResult

from .conftest import lines

QUESTIONS = [row["question"] for row in lines()[:6]]
WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def values(draw: Any) -> KnobValues:
    return KnobValues(
        weight_dense=draw(st.sampled_from([0.25, 0.5, 1.0])),
        weight_bm25=draw(WEIGHTS),
        weight_maxsim=draw(WEIGHTS),
        fusion=draw(st.sampled_from(["rrf", "convex"])),
        depth_bm25=draw(st.integers(1, 100)),
        rerank_depth=draw(st.integers(1, 60)),
        k=draw(st.integers(1, 8)),
        score_threshold=draw(st.sampled_from([0.0, 0.5])),
        diversity=draw(st.sampled_from([0.0, 0.3])),
    )


def stage(kind: str, path: str, knobs: KnobValues) -> Any:
    plain = knobs.replaced(weight_maxsim=0.0)
    if kind == "dense":
        return DenseRetriever(path, knobs=Knobs(plain))
    if kind == "hybrid":
        return HybridRetriever(path, knobs=Knobs(plain))
    if kind == "hops":
        return MultiHopRetriever(HybridRetriever(path, knobs=Knobs(plain)))
    return RerankRetriever(HybridRetriever(path, knobs=Knobs(knobs)), MaxSim(path))


class Program(dspy.Module):
    """Stages one after the other; how each is asked is drawn."""

    def __init__(self, stages: list[Any], ways: list[str]) -> None:
        super().__init__()
        self.stages = stages
        self.ways = ways
        self.write = dspy.Predict("context, question -> query")

    def forward(self, question: str) -> list[RetrievalResult]:
        found: list[RetrievalResult] = []
        for one, way in zip(self.stages, self.ways, strict=True):
            query, seen = question, [str(p) for result in found for p in result.passages]
            if way == "written":
                query = self.write(context=seen, question=question).query or question
            elif way == "found" and seen:
                query = seen[0]
            found.append(one(query))
        return found


@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_replaying_a_program_finds_what_searching_finds(world: Path, data: st.DataObject) -> None:
    path = str(world / "index")
    kinds = data.draw(
        st.lists(st.sampled_from(["dense", "hybrid", "rerank", "hops"]), min_size=2, max_size=3)
    )
    ways = [data.draw(st.sampled_from(["asked", "written", "found"])) for _ in kinds]
    program = Program([stage(kind, path, values(data.draw)) for kind in kinds], ways)
    pool = CandidatePool()
    with dspy.context(lm=build_lm("extractive")):
        for question in data.draw(
            st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=2, unique=True)
        ):
            live = [result.ids for result in program(question)]
            for _ in range(2):  # fetched, then replayed
                with replay_from_pool(pool):
                    again = [result.ids for result in program(question)]
                assert again == live


class Hidden(dspy.Module):
    """Makes its stage while it runs."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.seen = HybridRetriever(path)

    def forward(self, question: str) -> Any:
        return HybridRetriever(self.path)(question), self.seen(question)


def test_a_stage_that_no_program_holds_is_noticed_where_it_is_asked(world: Path) -> None:
    path = str(world / "index")
    program, trails = copy_with_named_knobs(Hidden(path)), Trails()
    with replay_from_pool(CandidatePool(), trails), question_being_asked("one"):
        program(question=QUESTIONS[0])
    assert trails.strangers == {("HybridRetriever", path)}
    assert [place for place, _ in trails.asked["one"]] == ["seen.knobs"]


class Through(dspy.Module):
    """Asks its stage through DSPy's own retriever, and another that knows none of ours."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.rm = HybridRetriever(path)
        self.plain = Fixed(k=1)
        self.retrieve = dspy.Retrieve(k=5)

    def forward(self, question: str) -> list[str]:
        with dspy.context(rm=self.rm):
            return [*self.plain(question).passages, *self.retrieve(question).passages]


class Fixed(dspy.Retrieve):
    searched = 0

    def forward(self, query: str, k: int | None = None, **_: Any) -> dspy.Prediction:
        type(self).searched += 1
        return dspy.Prediction(passages=["the same"])


def test_a_retriever_of_dspy_that_asks_a_stage_is_replayed_by_the_stages_knobs(
    world: Path,
) -> None:
    program = copy_with_named_knobs(Through(str(world / "index")))
    settings = [
        KnobValues(weight_dense=dense, weight_bm25=1 - dense, weight_maxsim=0.0, depth_bm25=depth)
        for dense, depth in ((1.0, 1), (0.0, 3), (0.5, 20))
    ]
    live = []
    for values in settings:
        with hold_knobs(Setting.of({"rm.knobs": values})):
            live.append(program(question=QUESTIONS[0]))
    assert len({str(found) for found in live}) == len(settings)
    Fixed.searched, memo = 0, Memo()
    memoize_retrievers(program)
    for values, found in zip(settings, live, strict=True):
        for _ in range(2):
            held = hold_knobs(Setting.of({"rm.knobs": values}))
            with held, replay_from_pool(CandidatePool()), answer_from_memo(memo):
                assert program(question=QUESTIONS[0]) == found
    assert Fixed.searched == 1
    assert len(memo.led_on) == 1
