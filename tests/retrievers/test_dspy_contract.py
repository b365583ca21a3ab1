"""What DSPy asks of a retriever, and programs that hold one: saving, copying, threads, async."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dspy
import pytest
from dspy.utils.callback import BaseCallback

from ragwright.retrievers.base import Retriever
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import open_index
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.sparse import KeywordRetriever
from ragwright.retrievers.types import Passage
from tests.retrievers.conftest import LANDS

KINDS = [ChromaRetriever, KeywordRetriever]
QUESTION = "What is the capital of Peru?"


class Reader(dspy.Module):
    """A program with a retriever as a sub-module and a predictor; it calls no LM."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__()
        self.retriever = retriever
        self.respond = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.retriever(question)
        documents = [metadata["document"] for metadata in found.metadata]
        return dspy.Prediction(answer=documents[0], ids=found.ids, scores=found.scores)

    async def aforward(self, question: str) -> dspy.Prediction:
        found = await self.retriever.acall(question)
        return dspy.Prediction(answer=found.passages[0].document, ids=found.ids)


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.__name__))
def retriever(request: pytest.FixtureRequest, index_path: Path) -> Retriever:
    made: Retriever = request.param(str(index_path), k=3)
    return made


def found(retriever: Any, question: str = QUESTION) -> list[str]:
    ids: list[str] = retriever(question).ids
    return ids


def test_it_is_a_retrieve_and_no_module(retriever: Retriever) -> None:
    assert isinstance(retriever, dspy.Retrieve)
    assert not isinstance(retriever, dspy.Module)


def test_ids_scores_and_metadata_reach_the_program(retriever: Retriever) -> None:
    result = retriever(QUESTION)
    assert isinstance(result, RetrievalResult)
    assert result.passages[0].document == "Peru"
    assert result.ids == [passage.id for passage in result.passages]
    assert result.scores == sorted(result.scores, reverse=True)
    assert result.metadata[0]["continent"] == "America"
    assert dict(result.passages[0].signals) == {retriever.signal: result.scores[0]}
    prediction = Reader(retriever)(question=QUESTION)
    assert (prediction.answer, prediction.ids) == ("Peru", result.ids)
    assert prediction.scores == result.scores


def test_k_and_where_travel(retriever: Retriever) -> None:
    assert len(retriever(QUESTION)) == 3
    assert found(retriever)[:1] == retriever(QUESTION, 1).ids
    elsewhere = retriever(QUESTION, k=2, where={"continent": "Europe"})
    assert [metadata["continent"] for metadata in elsewhere.metadata] == ["Europe", "Europe"]


@pytest.mark.parametrize("k", [0, -1, 1001, 2.0, True, "3"])
def test_a_k_out_of_range_is_refused(retriever: Retriever, k: Any) -> None:
    with pytest.raises(InputError, match=f"k is {k!r}"):
        retriever(QUESTION, k)
    with pytest.raises(InputError, match=f"k is {k!r}"):
        type(retriever)(retriever.path, k=k)


def test_as_the_configured_retriever(retriever: Retriever) -> None:
    with dspy.context(rm=retriever):
        passages = dspy.Retrieve(k=2)(QUESTION).passages
    assert [str(passage) for passage in passages] == [str(p) for p in retriever(QUESTION, 2)]
    assert isinstance(passages[0], Passage)
    assert passages[0].document == "Peru"


@pytest.mark.parametrize("file", ["program.json", "program.pkl"])
def test_a_program_that_holds_it_is_saved_and_loaded(
    retriever: Retriever, tmp_path: Path, file: str
) -> None:
    program = Reader(retriever)
    program.respond.demos = [dspy.Example(context="c", question="q", answer="a")]
    program.save(tmp_path / file)
    fresh = Reader(type(retriever)(retriever.path, k=5))
    fresh.load(tmp_path / file, allow_pickle=True)
    assert fresh.retriever.k == 3
    assert fresh.respond.demos[0]["answer"] == "a"
    assert fresh(question=QUESTION).ids == found(retriever)


LOAD_AND_ASK = """
import sys, dspy
program = dspy.load(sys.argv[1], allow_pickle=True)
print(*program(question=sys.argv[2]).ids)
"""


def test_a_whole_program_loads_in_a_new_process(retriever: Retriever, tmp_path: Path) -> None:
    program = Reader(retriever)
    found(retriever)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        program.save(tmp_path / "whole", save_program=True)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    command = [sys.executable, "-c", LOAD_AND_ASK, str(tmp_path / "whole"), QUESTION]
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == found(retriever), ran.stderr


def test_copies_find_the_same_and_share_the_open_index(retriever: Retriever) -> None:
    program = Reader(retriever)
    ids = program(question=QUESTION).ids
    index = open_index(retriever.path)
    for twin in (
        copy.deepcopy(program),
        program.deepcopy(),
        program.reset_copy(),
        cloudpickle.loads(cloudpickle.dumps(program)),
    ):
        assert twin is not program
        assert twin.retriever.k == 3
        assert twin(question=QUESTION).ids == ids
        assert twin.retriever.index is index


def test_it_holds_no_live_client(retriever: Retriever) -> None:
    found(retriever)
    assert len(cloudpickle.dumps(retriever)) < 5_000


def test_asynchronously(retriever: Retriever) -> None:
    async def ask() -> list[list[str]]:
        program = Reader(retriever)
        predictions = await asyncio.gather(*(program.acall(question=QUESTION) for _ in range(5)))
        alone = await retriever.acall(QUESTION, 2)
        return [alone.ids, *(prediction.ids for prediction in predictions)]

    alone, *others = asyncio.run(ask())
    assert alone == found(retriever)[:2]
    assert others == [found(retriever)] * 5


def test_evaluate_with_eight_threads(retriever: Retriever) -> None:
    devset = [
        dspy.Example(question=f"What is the capital of {name}?", answer=name).with_inputs(
            "question"
        )
        for name in LANDS
    ] * 8
    evaluate = dspy.Evaluate(devset=devset, metric=_same, num_threads=8, display_progress=False)
    assert evaluate(Reader(retriever)).score == 100.0


def _same(gold: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
    return bool(gold.answer == prediction.answer)


def test_a_program_with_it_keeps_its_language_model(retriever: Retriever) -> None:
    program = Reader(retriever)
    lm = dspy.utils.DummyLM([{"answer": "x"}])
    program.set_lm(lm)
    assert program.get_lm() is lm
    assert [name for name, _ in program.named_parameters()] == ["retriever", "respond"]


class Recorder(BaseCallback):
    """Notes the inputs that callbacks are told of."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if isinstance(instance, Retriever):
            self.inputs.append(inputs)


def test_callbacks_see_named_inputs(retriever: Retriever) -> None:
    recorder = Recorder()
    with dspy.context(callbacks=[recorder]):
        retriever(QUESTION, k=2)
        asyncio.run(retriever.acall(QUESTION, k=2))
    assert [inputs["query"] for inputs in recorder.inputs] == [QUESTION, QUESTION]
    assert [inputs["k"] for inputs in recorder.inputs] == [2, 2]


@pytest.mark.parametrize(
    "state", [{}, {"k": 3, "path": "/etc"}, {"k": "3"}, {"k": 0}, {"top": 3}, [3]], ids=str
)
def test_a_crafted_state_is_refused(retriever: Retriever, state: Any) -> None:
    path = retriever.path
    with pytest.raises(InputError):
        retriever.load_state(state)
    assert (retriever.k, retriever.path) == (3, path)


def test_a_search_is_not_traced_while_a_thread_still_imports_mlflow(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    assert retriever("capital").passages
