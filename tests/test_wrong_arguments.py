"""Every name that `ragwright` exports, given what it does not take: an error of ours says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

import ragwright as rw
from ragwright import JointOptimizer
from ragwright.retrievers import open_index
from ragwright.retrievers.errors import InputError, RagError

WRONG: tuple[Any, ...] = (None, "", [], {}, -1, float("nan"), True, b"x", object(), "\0")
HYBRID = rw.HybridRetriever("nowhere")
NEVER_CALLED = "x"


def optimizer(**options: Any) -> rw.JointOptimizer:
    return rw.JointOptimizer(metric="answer_f1", **options)


def compiled(student: Any, trainset: Any) -> Any:
    lm = rw.build_lm("extractive", embedder="hash")
    return optimizer(lm=lm).compile(student, trainset=trainset)


Call = Callable[[Any], Any]
NOTHING: tuple[Any, ...] = (None,)
CALLS: dict[str, tuple[Call, tuple[Any, ...]]] = {
    "Caps calls": (lambda it: rw.Caps(calls=it), NOTHING),
    "Caps seconds": (lambda it: rw.Caps(seconds=it), NOTHING),
    "ChromaRetriever": (rw.ChromaRetriever, ()),
    "ChromaRetriever k": (lambda it: rw.ChromaRetriever("x", k=it), ()),
    "KeywordRetriever": (rw.KeywordRetriever, ()),
    "HybridRetriever": (rw.HybridRetriever, ()),
    "HybridRetriever knobs": (lambda it: rw.HybridRetriever("x", knobs=it), NOTHING),
    "HybridRetriever sources": (lambda it: rw.HybridRetriever("x", sources=it), ([],)),
    "MaxSim": (rw.MaxSim, ()),
    "RAG": (rw.RAG, ()),
    "RAG knobs": (lambda it: rw.RAG(HYBRID, knobs=it), NOTHING),
    "RAG options": (lambda it: rw.RAG(HYBRID, options=it), ()),
    "RerankRAG": (rw.RerankRAG, ()),
    "RerankRAG reranker": (lambda it: rw.RerankRAG("x", reranker=it), ("", "\0")),
    "RerankRAG expansion": (lambda it: rw.RerankRAG("x", expansion=it), NOTHING),
    "RerankRetriever": (lambda it: rw.RerankRetriever(it, rw.MaxSim("x")), ()),
    "RerankRetriever reranker": (lambda it: rw.RerankRetriever(HYBRID, it), ()),
    "JointOptimizer metric": (lambda it: rw.JointOptimizer(metric=it), ()),
    "JointOptimizer caps": (lambda it: optimizer(caps=it), NOTHING),
    "JointOptimizer run_dir": (lambda it: optimizer(run_dir=it), NOTHING),
    "JointOptimizer student": (lambda it: compiled(it, []), ()),
    "JointOptimizer trainset": (lambda it: compiled(rw.RAG(HYBRID), it), ()),
    "Recipe": (rw.Recipe.from_toml, ()),
    "build_lm": (rw.build_lm, ()),
    "compile_program": (lambda it: rw.compile_program(it, run_dir=NEVER_CALLED), ()),
    "compile_program questions": (
        lambda it: rw.compile_program(rw.Recipe(), it, run_dir=NEVER_CALLED), ()),
    "compile_program run_dir": (lambda it: rw.compile_program(rw.Recipe(), [], run_dir=it), ()),
    "delete_documents": (lambda it: rw.delete_documents(it, NEVER_CALLED), ()),
    "delete_documents folder": (lambda it: rw.delete_documents(["a"], it), ()),
    "evaluate": (lambda it: rw.evaluate(it, [], None), ()),  # type: ignore[arg-type]
    "ingest": (lambda it: rw.ingest(it, NEVER_CALLED), ()),
    "ingest folder": (lambda it: rw.ingest([rw.Document("a", "b")], it), ()),
    "load": (rw.load, ()),
    "read_documents": (lambda it: list(rw.read_documents(it)), ()),
    "save": (lambda it: rw.save(it, NEVER_CALLED), ()),
    "save folder": (lambda it: rw.save(rw.RAG(HYBRID), it), ()),
    "serve": (rw.serve, ()),
    "upsert_documents": (lambda it: rw.upsert_documents(it, NEVER_CALLED), ()),
    "upsert_documents folder": (lambda it: rw.upsert_documents([rw.Document("a", "b")], it), ()),
    "open_index": (open_index, ()),
}  # fmt: skip
UNCHECKED = {"Document", "__version__"}
"""A document is read where it is ingested, which names it and says what is wrong with it."""


def test_nothing_that_is_exported_is_left_out() -> None:
    assert {name.split()[0] for name in CALLS} - {"open_index"} == set(rw.__all__) - UNCHECKED


@pytest.mark.parametrize("name", CALLS)
def test_what_it_does_not_take_is_an_error_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, taken = CALLS[name]
    for wrong in WRONG:
        if any(wrong is one or (wrong == one and type(wrong) is type(one)) for one in taken):
            call(wrong)
        else:
            with pytest.raises(RagError):
                call(wrong)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"variants": 3}, "auto"),
        ({"variants": ["small"]}, "auto"),
        ({"variants": {"small": 3}, "documents": "docs"}, "auto"),
        ({"variants": {"a-b": {}}, "documents": "docs"}, "a-b"),
        ({"variants": "auto"}, "documents"),
        ({"documents": "docs"}, "variants"),
        ({"variants": "auto", "documents": 3}, "documents"),
        ({"prompts": dspy.GEPA}, r"GEPA\(\.\.\.\)"),
        ({"prompts": "nope"}, "optimizer"),
        ({"prompts": 3}, "prompts"),
        ({"lm": "openai/x"}, "lm"),
        ({"split": "docs"}, "split"),
        ({"progress": 3}, "progress"),
        ({"track": "nope://x"}, "no store"),
        ({"threads": 0}, "threads"),
        ({"sed": 1}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"retrieval_metric": "x"}, "retrieval metric"),
    ],
)  # fmt: skip
def test_a_wrong_argument_of_the_optimizer_is_refused_where_it_is_made(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        JointOptimizer(metric=lambda gold, pred, trace=None: 1.0, **given)


@pytest.mark.parametrize("teacher", [[1], dspy.Predict("question -> answer"), 3])
def test_a_teacher_of_another_structure_is_refused_before_anything_is_spent(teacher: Any) -> None:
    made = JointOptimizer(metric=lambda gold, pred, trace=None: 1.0)
    with pytest.raises(RagError, match="teacher"):
        made.compile(dspy.Predict("context -> answer"), trainset=[], teacher=teacher)


class Asks(dspy.Module):
    """Takes two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("question, product -> answer")

    def forward(self, question: str, product: str) -> dspy.Prediction:
        return self.answer(question=question, product=product)


def many(**fields: str) -> list[dspy.Example]:
    return [dspy.Example(answer="a", **fields).with_inputs(*fields) for _ in range(12)]


def test_inputs_that_a_program_does_not_take_are_refused_before_a_call(tmp_path: Path) -> None:
    made = JointOptimizer(
        metric="answer_f1", lm=rw.build_lm("extractive"), run_dir=tmp_path / "run"
    )
    for fields in ({"query": "q", "product": "p"}, {"question": "q"}):
        with pytest.raises(InputError, match="Asks cannot be called with the inputs") as refused:
            made.compile(Asks(), trainset=many(**fields))
        assert 'with_inputs("question", "product")' in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_examples_without_answers_are_refused_where_the_metric_compares_them(
    tmp_path: Path,
) -> None:
    rows = [
        dspy.Example(question="q", product="p", response="a").with_inputs("question", "product")
        for _ in range(12)
    ]
    made = JointOptimizer(
        metric="answer_f1", lm=rw.build_lm("extractive"), run_dir=tmp_path / "run"
    )
    with pytest.raises(InputError, match="No example has an answer, and answer_f1 compares"):
        made.compile(Asks(), trainset=rows)


def test_a_misspelt_metric_is_told_what_may_be_meant() -> None:
    with pytest.raises(InputError, match="Is 'answer_f1' meant"):
        JointOptimizer(metric="anwser_f1")
