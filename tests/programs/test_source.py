"""A user's own source in `HybridRetriever`: checked, filtered, weighed, replayed, done without."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from ragwright import HybridRetriever, MaxSim, RerankRetriever
from ragwright.optimize.retrieval.pool import CandidatePool, stage_identity
from ragwright.programs import HybridRAG, Knobs, KnobValues, SearchSource, Signal, protect
from ragwright.programs.build import starting_knobs
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.recipe import Recipe
from ragwright.programs.replaying import replay_from_pool
from ragwright.programs.sections import ProgramSection
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.types import Where


class Longest(SearchSource):
    """Finds the longest chunks, whatever is asked; heeds neither n nor a filter."""

    signal = Signal("longest", source=True)
    unit = 1000.0

    def forward(self, query: str, n: int, where: Where | None = None) -> Mapping[str, float]:
        return {chunk.id: len(chunk.text) / self.unit for chunk in self.index.chunks()}


class Shortest(Longest):
    """The same the other way round, awaited too."""

    signal = Signal("shortest", source=True)
    unit = -1000.0


class Failing(Longest):
    def forward(self, query: str, n: int, where: Where | None = None) -> Mapping[str, float]:
        raise IndexFault("The other database is down.")


class Saying(Longest):
    """Returns whatever it was told to."""

    said: Any = None

    def forward(self, query: str, n: int, where: Where | None = None) -> Mapping[str, float]:
        found: Mapping[str, float] = self.said
        return found


def alone(path: str, *sources: type[SearchSource], **knobs: Any) -> HybridRetriever:
    """A stage in which nothing but further sources weighs."""
    weights = {"weight_dense": 0.0, "weight_bm25": 0.0}
    weights |= {one.signal.weight: 1.0 for one in sources}
    weights |= {one.signal.depth: 100 for one in sources}
    values = KnobValues.checked({**weights, **knobs})
    return HybridRetriever(path, sources=sources, knobs=Knobs(values))


def test_it_decides_what_is_found_and_says_by_what_score(index_path: str) -> None:
    found = alone(index_path, Longest)("anything at all", 3).passages
    lengths = [len(str(passage)) for passage in found]
    assert lengths == sorted(lengths, reverse=True)
    assert [passage.signals["longest"] for passage in found] == pytest.approx(
        [length / 1000 for length in lengths]
    )


def test_it_weighs_from_the_start_as_much_as_the_others(index_path: str) -> None:
    knobs = HybridRetriever(index_path, sources=[Longest, Shortest(index_path)]).knobs.values
    assert knobs.weights == {"dense": 0.5, "bm25": 0.5, "longest": 0.5, "shortest": 0.5}
    assert HybridRAG(index_path, sources=[Longest]).knobs.values.weight("longest") == 0.5
    given = Knobs(KnobValues())
    assert HybridRetriever(index_path, sources=[Longest], knobs=given).knobs is given
    assert not given.values.weight("longest")


def test_a_filter_holds_for_it_even_if_it_heeds_none(index_path: str) -> None:
    stage = alone(index_path, Longest)
    found = stage("anything", 10, where={"topic": "t"}).passages
    assert found
    assert {passage.metadata["topic"] for passage in found} == {"t"}
    assert [
        p.id for p in asyncio.run(stage.acall("anything", 10, where={"topic": "t"})).passages
    ] == [p.id for p in found]


@pytest.mark.parametrize("reranked", [False, True])
def test_replayed_it_finds_what_it_finds_live(index_path: str, reranked: bool) -> None:
    pool, hybrid = CandidatePool(), HybridRetriever(index_path, sources=[Longest, Shortest])
    stage = RerankRetriever(hybrid, MaxSim(index_path)) if reranked else hybrid
    weights = ((1.0, 0.0, 0.2), (0.1, 0.9, 0.0), (0.3, 0.3, 0.3))
    for fusion, (dense, long, short) in zip(("convex", "rrf", "convex"), weights, strict=True):
        stage.knobs.values = stage.knobs.values.replaced(
            weight_dense=dense, weight_longest=long, weight_shortest=short, fusion=fusion,
            depth_shortest=7,
        )  # fmt: skip
        for query in ("the capital of France", "how is tea made?"):
            live = stage(query, 6)
            waited = asyncio.run(stage.acall(query, 6))
            with replay_from_pool(pool):
                again = stage(query, 6)
            assert live.ids == waited.ids == again.ids
            assert live.scores == pytest.approx(again.scores)
    assert pool.fetched == 2


def test_what_a_pool_stored_of_other_sources_is_not_taken(index_path: str) -> None:
    made = [
        HybridRetriever(index_path),
        HybridRetriever(index_path, sources=[Longest]),
        HybridRetriever(index_path, sources=[Shortest]),
        HybridRetriever(index_path, sources=[Longest, Shortest]),
    ]
    made[1].sources[0].unit = 10.0
    made.append(HybridRetriever(index_path, sources=[Longest]))
    assert len({stage_identity(stage, str) for stage in made}) == len(made)


def test_its_knobs_are_saved_and_asked_for_when_loaded(index_path: str, tmp_path: Any) -> None:
    one, other = (HybridRAG(index_path, sources=[Longest]) for _ in range(2))
    one.knobs.values = one.knobs.values.replaced(weight_longest=0.25, depth_longest=20)
    one.save(str(tmp_path / "state.json"))
    other.load(str(tmp_path / "state.json"))
    assert other.knobs.values == one.knobs.values
    without = one.knobs.dump_state()
    del without["weight_longest"]
    with pytest.raises(InputError, match="lacks the knobs weight_longest"):
        other.knobs.load_state(without)


def test_where_it_fails_a_protected_program_does_without(index_path: str) -> None:
    stage = HybridRetriever(index_path, sources=[Failing])
    with pytest.raises(IndexFault, match="other database"):
        stage("tea")
    protect(stage, FallbackSettings())
    for found in (stage("tea"), asyncio.run(stage.acall("tea"))):
        assert found.ids == HybridRetriever(index_path)("tea").ids
        assert [noted.used for noted in found.degraded] == ["the other sources"]


@pytest.mark.parametrize(
    "said",
    [None, ["a"], "text", {"a": "1"}, {"a": float("nan")}, {"a": float("inf")}, {"a": 1e300},
     {1: 1.0}, {"a": True}, {"a": None}],
)  # fmt: skip
def test_what_is_no_table_of_scores_is_refused(index_path: str, said: Any) -> None:
    stage = HybridRetriever(index_path, sources=[Saying])
    stage.sources[0].said = said
    with pytest.raises(InputError, match="The source 'Saying' returned"):
        stage("tea")


def test_ids_that_the_index_does_not_know_are_passed_over(index_path: str) -> None:
    stage = HybridRetriever(index_path, sources=[Saying])
    stage.sources[0].said = {"nowhere": 1.0}
    assert stage("tea").ids == HybridRetriever(index_path)("tea").ids


class Nameless(SearchSource):
    pass


class Reranking(SearchSource):
    signal = Signal("scoring")


class Dense(SearchSource):
    signal = Signal("dense", source=True)


class Learned(SearchSource):
    signal = Signal("questions", source=True)


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        (Longest, "not a list"),
        ("tests:Source", "not a list"),
        (None, "not a list"),
        ([None], "is no source"),
        (["tests:Source"], "is no source"),
        ([Nameless], "declares no signal"),
        ([Reranking], "declares no signal of a source"),
        ([Longest, Longest], "'longest' of a source's signal is taken"),
        ([Learned], "'questions' of a source's signal is taken"),
        ([Dense], "call their signal 'dense'"),
        ([Longest("elsewhere")], "is over 'elsewhere'"),
    ],
)
def test_what_is_no_list_of_sources_is_refused(index_path: str, sources: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        HybridRetriever(index_path, sources=sources)


@pytest.mark.parametrize(
    "table",
    [{"sources": ["near"]}, {"sources": ["library:x"]}, {"sources": "my_app:Near"},
     {"kind": "rag", "sources": ["my_app:Near"]}, {"kind": "my_app:P", "sources": ["my_app:N"]}],
)  # fmt: skip
def test_a_recipe_names_sources_as_classes(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"module:Class|valid tuple|takes no further sources"):
        ProgramSection.model_validate(table)


@pytest.mark.parametrize(
    ("knobs", "weights"),
    [({}, (0.5, 1.0)), ({"k": 3}, (0.5, 1.0)), ({"weight_overlap": 0.0}, (0.5, 0.0)),
     ({"weight_named": 0.0, "weight_overlap": 0.25}, (0.0, 0.25))],
)  # fmt: skip
def test_parts_from_outside_weigh_from_the_start_unless_the_recipe_says_more(
    knobs: dict[str, Any], weights: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_TRUST", "tests.outside.named,tests.outside.overlap")
    parts = {"sources": ["tests.outside.named:Named"], "reranker": "tests.outside.overlap:Overlap"}
    recipe = Recipe.checked({"program": parts, "knobs": knobs})
    for one in (recipe, recipe.model_copy(update={"knobs": recipe.knobs.replaced(k=7)})):
        values = starting_knobs(one)
        assert (values.weight("named"), values.weight("overlap")) == weights
