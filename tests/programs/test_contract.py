"""Every program and stage, held to what DSPy and an application expect of a module."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.programs.build import build_program
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe
from ragwright.programs.streaming import Done, Retrieved, Token, stream
from ragwright.retrievers.types import Passage
from tests.programs.conftest import client
from tests.servers.scripted_lm import ScriptedLM

QUESTION = "What is the capital of France?"

PREDICTORS = {
    "rag": [], "hybrid": [], "rerank": [], "cross-encoder": [], "library": [], "abstain": [],
    "hyde": ["retriever.expansion.expand"],
    "multi-query": ["retriever.retriever.expansion.expand"],
    "step-back": ["retriever.expansion.expand"],
    "decompose": ["retriever.expansion.expand"],
    "listwise": ["retriever.reranker.order"],
    "pointwise": ["retriever.reranker.judge"],
    "multihop": ["retriever.next_hop"],
    "multihop-maxsim": ["retriever.next_hop"],
    "conversation": ["rewrite"],
}  # fmt: skip


def said_in(program: dspy.Module, prediction: Any) -> tuple[Any, ...]:
    return prediction.answer, prediction.citations, prediction.retrieved.ids


def test_it_answers_from_passages(program: RAG, name: str) -> None:
    said = program(question=QUESTION)
    assert said.answer.startswith("Paris is the capital of France")
    assert [said.passages[number - 1].document for number in said.citations] == ["paris"]
    assert (said.invented, said.degraded, said.abstained) == (0, [], False)
    assert len(said.retrieved) <= 4
    assert all(isinstance(passage, Passage) for passage in said.retrieved)
    assert len(set(said.retrieved.ids)) == len(said.retrieved.ids)


def test_its_predictors_are_those_that_can_be_compiled(program: RAG, name: str) -> None:
    found = [predictor for predictor, _ in program.named_predictors()]
    assert found == [*PREDICTORS[name], "respond"]
    assert {parameter for parameter, _ in program.named_parameters()} >= {"knobs", "respond"}


def test_acall_says_what_call_says(program: RAG) -> None:
    said = program(question=QUESTION)
    assert said_in(program, asyncio.run(program.acall(question=QUESTION))) == said_in(program, said)


def test_a_stage_tells_its_usage_though_nothing_is_found(
    program: RAG, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage, nowhere = program.retriever, {"document": "nowhere"}
    caplog.set_level("WARNING", logger="dspy.primitives.module")
    with dspy.context(track_usage=True):
        called = stage(QUESTION, where=nowhere)
        awaited = asyncio.run(stage.acall(QUESTION, where=nowhere))
    assert not called
    assert not awaited
    assert called.get_lm_usage() == awaited.get_lm_usage()
    asks = bool({"expand", "next_hop"} & {place.split(".")[-1] for place in PREDICTORS[name]})
    assert bool(called.get_lm_usage()) is asks
    assert "LM usage" not in caplog.text


def test_streaming_says_what_call_says(program: RAG) -> None:
    said = program(question=QUESTION)

    async def collect() -> list[Any]:
        return [event async for event in stream(program, QUESTION)]

    events = asyncio.run(collect())
    assert isinstance(events[0], Retrieved)
    assert [passage.id for passage in events[0].passages] == said.retrieved.ids
    assert "".join(event.text for event in events if isinstance(event, Token)) == said.answer
    assert isinstance(events[-1], Done)
    assert said_in(program, events[-1].prediction) == said_in(program, said)


def test_the_state_goes_through_json_into_a_fresh_program(
    program: RAG, recipe: Recipe, tmp_path: Path
) -> None:
    program.knobs.values = program.knobs.values.replaced(k=2)
    for _, predictor in program.named_predictors():
        predictor.signature = predictor.signature.with_instructions("Compiled.")
    lm = program.get_lm()
    program.set_lm(None)
    program.save(tmp_path / "state.json")
    fresh = build_program(recipe)
    fresh.load(tmp_path / "state.json")
    assert fresh.dump_state() == program.dump_state() == json.loads(json.dumps(fresh.dump_state()))
    fresh.set_lm(lm)
    assert len(fresh(question=QUESTION).retrieved) <= 2


@pytest.mark.parametrize("made", [copy.deepcopy, dspy.Module.deepcopy, dspy.Module.reset_copy])
def test_copies_work_alone(program: RAG, made: Callable[[RAG], RAG]) -> None:
    copied = made(program)
    copied.set_lm(program.respond.lm)
    copied.knobs.values = copied.knobs.values.replaced(k=1)
    assert len(copied(question=QUESTION).retrieved) == 1
    assert program.knobs.values.k == 4


def test_one_language_model_serves_every_predictor(program: RAG, written: ScriptedLM) -> None:
    other = client(written)
    program.set_lm(other)
    assert program.get_lm() is other


def exact(
    gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
) -> float:
    return float(gold.answer in (pred.answer or ""))


TRAINSET = [
    dspy.Example(question=question, answer=answer).with_inputs("question")
    for question, answer in (
        (QUESTION, "Paris"),
        ("What is the capital of Italy?", "Rome"),
        ("What is the capital of Norway?", "Oslo"),
        ("Who was Rust written by?", "Graydon"),
    )
]


def test_a_teleprompter_compiles_it(program: RAG) -> None:
    teleprompter = dspy.BootstrapFewShotWithRandomSearch(
        metric=exact, max_bootstrapped_demos=1, max_labeled_demos=1, num_candidate_programs=1,
        num_threads=2,
    )  # fmt: skip
    single = dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=1)
    with dspy.context(lm=program.get_lm()):  # an optimizer's copies have no model of their own
        searched = teleprompter.compile(program, trainset=TRAINSET[:2], valset=TRAINSET[2:3])
        demonstrated = single.compile(program, trainset=TRAINSET[:2])
        assert searched(question=QUESTION).answer.startswith("Paris")
    assert demonstrated.respond.demos
    assert set(searched.dump_state()) == set(demonstrated.dump_state()) == set(program.dump_state())


@pytest.mark.parametrize("wrapper", [dspy.BestOfN, dspy.Refine])
def test_it_can_be_asked_several_times(program: RAG, wrapper: Any) -> None:
    best = wrapper(
        module=program, N=2, reward_fn=lambda args, pred: float("Paris" in pred.answer),
        threshold=1.0,
    )  # fmt: skip
    assert "Paris" in best(question=QUESTION).answer


def test_simba_rewrites_it(program: RAG, name: str) -> None:
    simba = dspy.SIMBA(
        metric=exact, bsize=2, num_candidates=2, max_steps=1, max_demos=1, num_threads=2
    )
    compiled = simba.compile(program, trainset=TRAINSET[:2], seed=0)
    assert compiled(question=QUESTION).answer.startswith("Paris")
    assert set(compiled.dump_state()) == set(program.dump_state())


def test_eight_threads_evaluate_it(program: RAG) -> None:
    evaluate = dspy.Evaluate(
        devset=TRAINSET * 4, metric=exact, num_threads=8, display_progress=False, max_errors=1
    )
    assert evaluate(program).score == 100.0
