"""RAG, HybridRAG and RerankRAG over a real index: what they return, and DSPy's handling of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from hypothesis import HealthCheck, given, settings

from ragwright.programs.build import build_program, build_recipe_lm, gather, index_settings
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.kinds import HybridRAG, MultiHopRAG, RerankRAG
from ragwright.programs.knobs import START, Knobs, KnobValues
from ragwright.programs.lm_rerank import ListwiseReranker
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe
from ragwright.programs.rerank import CrossEncoder, MaxSim, Reranker, RerankRetriever
from ragwright.programs.selection import select
from ragwright.programs.stage import fetch_passages
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import IndexFault, InputError, ModelError
from ragwright.retrievers.index import IndexSettings
from tests.programs.test_selection import KNOBS

QUESTION = "What is the capital of France?"
QUESTIONS = (QUESTION, "How long is the river Seine?", "Who wrote Rust?", "xyzzy", "")

BUILDERS: dict[str, Callable[[str], RAG]] = {
    "rag": lambda path: RAG(ChromaRetriever(path)),
    "hybrid": HybridRAG,
    "rerank": RerankRAG,
}


@pytest.fixture(params=BUILDERS)
def program(request: pytest.FixtureRequest, index_path: str, extractive: dspy.LM) -> RAG:
    built = BUILDERS[request.param](index_path)
    built.set_lm(extractive)
    return built


def test_an_answer_comes_with_citations_into_the_context(program: RAG) -> None:
    said = program(question=QUESTION)
    assert "Paris" in said.answer
    assert said.citations
    cited = [said.passages[number - 1] for number in said.citations]
    assert [passage.document for passage in cited] == ["paris"]
    assert said.context == [f"[{n}] {p}" for n, p in enumerate(said.passages, start=1)]
    assert len(said.retrieved.passages) == 5
    assert said.passages == said.retrieved.passages


def test_async_says_the_same(program: RAG) -> None:
    said = program(question=QUESTION)
    later = asyncio.run(program.acall(question=QUESTION))
    assert (later.answer, later.citations) == (said.answer, said.citations)
    assert later.retrieved.ids == said.retrieved.ids


def test_a_filter_reaches_the_index(program: RAG) -> None:
    said = program(question=QUESTION, where={"topic": "r"})
    assert {passage.document for passage in said.retrieved} <= {"rome", "rust"}
    assert said.retrieved.ids


def test_passages_carry_the_score_of_each_source(index_path: str) -> None:
    best = RerankRAG(index_path).retriever(QUESTION).passages[0]
    assert best.document == "paris"
    assert set(best.signals) == {"dense", "bm25", "maxsim"}
    assert best.metadata["title"] == "Paris"


@pytest.mark.parametrize("question", QUESTIONS)
def test_plain_dense_rag_is_rerank_rag_with_the_dense_knobs(index_path: str, question: str) -> None:
    plain = ChromaRetriever(index_path)(question, 5)
    knobs = Knobs(KnobValues.dense(5))
    same = RerankRAG(index_path, knobs=knobs).retriever(question)
    assert same.ids == plain.ids
    assert same.scores == pytest.approx(plain.scores)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(knobs=KNOBS)
def test_replaying_gathered_candidates_gives_the_live_result(
    index_path: str, knobs: KnobValues
) -> None:
    program = RerankRAG(index_path, knobs=Knobs(knobs.replaced(weight_cross=0.0)))
    for question in QUESTIONS:
        pool = gather(program, question)
        replayed = fetch_passages(index_path, pool, select(pool, program.knobs.values))
        found = program.retriever(question)
        assert found.ids == replayed.ids
        assert found.scores == pytest.approx(replayed.scores, abs=1e-6)


def test_k_can_be_given_with_the_call_and_is_checked(index_path: str) -> None:
    retriever = HybridRetriever(index_path)
    assert len(retriever(QUESTION, 2)) == 2
    assert len(retriever(QUESTION)) == retriever.knobs.values.k
    with pytest.raises(InputError, match="k"):
        retriever(QUESTION, 0)


def test_the_state_goes_through_a_json_file(program: RAG, tmp_path: Path) -> None:
    program.knobs.values = program.knobs.values.replaced(k=3)
    program.respond.demos = [dspy.Example(context=["[1] x"], question="q", answer="a")]
    program.set_lm(None)
    program.save(tmp_path / "state.json")
    fresh = program.reset_copy()
    fresh.knobs.values = KnobValues()
    fresh.load(tmp_path / "state.json")
    assert fresh.knobs.values.k == 3
    assert fresh.respond.demos[0]["answer"] == "a"
    assert json.loads(json.dumps(fresh.dump_state())) == program.dump_state()


def test_copies_share_their_knobs_among_their_own_stages(program: RAG, extractive: dspy.LM) -> None:
    for copy in (program.deepcopy(), program.reset_copy()):
        copy.set_lm(extractive)
        copy.knobs.values = copy.knobs.values.replaced(k=2)
        assert len(copy(question=QUESTION).retrieved) == 2
        assert program.knobs.values.k == 5
    names = [name for name, _ in program.named_parameters()]
    assert names[0] == "knobs"
    assert [name for name in names if name.endswith("knobs")] == ["knobs"]


def test_the_language_model_is_set_and_got(program: RAG, extractive: dspy.LM) -> None:
    assert program.get_lm() is extractive
    assert [name for name, _ in program.named_predictors()] == ["respond"]


def test_a_compiled_inner_stage_keeps_its_parameters_when_it_can_be_saved(program: RAG) -> None:
    # DSPy hides the parameters of a sub-module with `_compiled`; the program itself may be so.
    names = set(program.dump_state())
    program._compiled = True
    assert set(program.dump_state()) == names
    assert {"knobs", "respond"} <= names


def test_nothing_is_opened_before_the_first_call(tmp_path: Path, extractive: dspy.LM) -> None:
    program = RerankRAG(str(tmp_path / "none"))
    program.set_lm(extractive)
    with pytest.raises(IndexFault, match="no index"):
        program(question=QUESTION)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_recipe_builds_its_program(kind: str, index_path: str) -> None:
    recipe = Recipe.checked(
        {
            "index": {"path": index_path, "embedder": "hash"},
            "program": {"kind": kind},
            "knobs": {"k": 4, "weight_maxsim": 0.5},
        }
    )
    lm = build_recipe_lm(recipe)
    program = build_program(recipe, lm=lm)
    assert program.get_lm() is lm
    said = program(question=QUESTION)
    assert "Paris" in said.answer
    assert len(said.retrieved) == 4
    assert index_settings(recipe) == IndexSettings(embedder="hash")
    assert set(gather(program, QUESTION).signals) >= {"dense", "bm25"}


def test_an_async_reranker_says_the_same_and_dspy_warns_of_nothing(
    index_path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dspy"), "propagate", True)
    reranker, ids = MaxSim(index_path), HybridRetriever(index_path)("capital of Norway").ids
    found = asyncio.run(reranker.acall("capital of Norway", ids))
    assert found == reranker("capital of Norway", ids)
    assert not [record for record in caplog.records if "discouraged" in record.message]


class Counting(ThreadPoolExecutor):
    """Counts what it is given to do."""

    given = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.given += 1
        return super().submit(*args, **kwargs)


def test_an_embedded_retrieval_takes_one_step_to_another_thread(program: RAG) -> None:
    called = program.retriever(QUESTION)
    threads = Counting(4)

    async def awaited() -> Any:
        asyncio.get_running_loop().set_default_executor(threads)
        return await program.retriever.acall(QUESTION)

    found = asyncio.run(awaited())
    assert (found.ids, found.scores, threads.given) == (called.ids, called.scores, 1)


def test_maxsim_scores_by_id_and_knows_no_others(index_path: str) -> None:
    ids = HybridRetriever(index_path)(QUESTION).ids
    scores = MaxSim(index_path)(QUESTION, [*ids, "no such chunk"])
    assert len(scores) == len(ids) + 1
    assert scores[-1] == 0
    assert max(scores) <= 1 + 1e-2


def test_a_cross_encoder_that_cannot_be_had_names_the_offline_choice(index_path: str) -> None:
    with pytest.raises(ModelError, match="use the default reranker"):
        CrossEncoder(index_path, "cross-encoder/ms-marco-MiniLM-L6-v2")(QUESTION, ["x"])


@pytest.mark.parametrize("kind", [MaxSim, CrossEncoder, ListwiseReranker])
def test_a_reranker_that_was_put_in_counts_from_the_start(
    index_path: str, kind: type[Reranker]
) -> None:
    weight = kind.signal.weight
    stage = RerankRetriever(HybridRetriever(index_path), kind(index_path))
    assert stage.knobs is stage.retriever.knobs
    for knobs in (
        stage.knobs,
        RerankRAG(index_path, reranker=kind(index_path)).knobs,
        MultiHopRAG(index_path, reranker=kind(index_path)).knobs,
    ):
        assert knobs.values.get(weight) == START

    light = Knobs(KnobValues(**{weight: 0.1}))
    kept = RerankRetriever(HybridRetriever(index_path, knobs=light), kind(index_path))
    assert kept.knobs.values.get(weight) == 0.1
    off = RerankRetriever(HybridRetriever(index_path), kind(index_path), knobs=Knobs())
    assert off.knobs.values.get(weight) == 0
    assert MultiHopRAG(index_path).knobs.values.weights == KnobValues().weights


def test_it_reranks_without_being_told_to(index_path: str) -> None:
    stage = RerankRetriever(HybridRetriever(index_path), MaxSim(index_path))
    assert all("maxsim" in passage.signals for passage in stage(QUESTION).passages)
