"""What `rag search` does: the program's own search, or one of four ways by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragwright.artifacts.cli.actions import (
    ReadyProgram,
    load_ready_program,
    open_ingested_index,
    read_recipe,
)
from ragwright.artifacts.cli.sources import ProgramSource, require_recipe
from ragwright.programs.anatomy import searchers_of, stages_of
from ragwright.programs.build import build_program
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.rerank import RerankRetriever, reranker_named
from ragwright.programs.sections import DEFAULT_RERANKER
from ragwright.programs.signals import SOURCES, Signal
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.advice import filter_advice
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.index import open_index
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.sparse import KeywordRetriever
from ragwright.retrievers.types import Where


def search_stage(source: ProgramSource, mode: str | None) -> Any:
    """Return the stage that searches: the program's own, or the one that `mode` names."""
    if source.recipe is None and source.artifact is None:
        path, knobs = str(require_recipe(source.index).resolve()), KnobValues()
        open_index(path)
        return _stage(path, mode or "hybrid", knobs)
    found = _without_lm(source)
    stage = _own_stage(found)
    return stage if mode is None else _stage(stage.path, mode, stage.knobs.values)


def run_search(
    stage: Any, question: str, k: int | None, where: Where | None = None
) -> RetrievalResult:
    """Run a search; `k` None leaves the number of passages to the stage.

    Raises:
        InputError: The question is empty.
    """
    if not question.strip():
        raise InputError("The question is empty.", hint="Ask something.")
    result: RetrievalResult = stage(question, k, where=where)
    return result


def filter_notes(searched: Any, where: Where | None) -> tuple[str, ...]:
    """Return what speaks against a filter that let nothing pass, in what a program searches."""
    asked = parse_filter(where)
    if asked is None:
        return ()
    places = dict.fromkeys(Path(part.path) for part in searchers_of(searched).values())
    return tuple(note for place in places for note in filter_advice(place, asked))


def _without_lm(source: ProgramSource) -> ReadyProgram:
    if source.artifact is not None:
        return load_ready_program(source)
    recipe = read_recipe(require_recipe(source.recipe), source.index)
    open_ingested_index(recipe, require_recipe(source.recipe))
    return ReadyProgram(build_program(recipe), recipe)


def _own_stage(found: ReadyProgram) -> RetrievalStage:
    """The one stage that a program searches with."""
    stages = [outermost for outermost, *_ in stages_of(found.program).values()]
    if len(stages) == 1:
        return stages[0]
    indexes = ", ".join(dict.fromkeys(repr(stage.path) for stage in stages)) or "no index of ours"
    raise InputError(
        f"{found.recipe.name!r} has {len(stages)} retrieval stages, over {indexes}.",
        hint="Search one index by itself: rag search --index FOLDER QUESTION.",
    )


def _stage(path: str, mode: str, values: KnobValues) -> Any:
    match mode:
        case "dense":
            return ChromaRetriever(path, k=values.k)
        case "bm25":
            return KeywordRetriever(path, k=values.k)
        case "hybrid":
            return HybridRetriever(path, knobs=Knobs(_fused(values, SOURCES)))
        case _:
            reranker = reranker_named(path, DEFAULT_RERANKER)
            knobs = Knobs(_fused(values, (*SOURCES, reranker.signal)))
            return RerankRetriever(HybridRetriever(path, knobs=knobs), reranker, knobs=knobs)


def _fused(values: KnobValues, signals: Sequence[Signal]) -> KnobValues:
    """A mode asked for by name uses its signals, even where the knobs leave them out."""
    sources = [signal for signal in signals if signal.source]
    if not all(values.weight(source.name) for source in sources):
        values = values.replaced(**{source.weight: 0.5 for source in sources})
    late = {signal.weight: values.weight(signal.name) or 0.5 for signal in signals[len(sources) :]}
    return values.replaced(**late).weighing(*signals)
