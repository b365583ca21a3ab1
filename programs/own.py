"""Describes a user's own program in a file: its class, and what it is built from."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, TypeGuard

import dspy

from ragwright.programs.expand import ExpandedRetriever, Expansion
from ragwright.programs.hybrid import DenseRetriever
from ragwright.programs.kinds import HybridRAG, MultiHopRAG, RerankRAG
from ragwright.programs.lm_rerank import ListwiseReranker, PointwiseReranker
from ragwright.programs.multihop import MultiHopRetriever
from ragwright.programs.rag import RAG
from ragwright.programs.rerank import CrossEncoder, LibraryReranker, Reranker, RerankRetriever
from ragwright.programs.sections import ProgramSection
from ragwright.programs.stage import RetrievalStage

_KINDS: Mapping[type, str] = {
    RAG: "rag", HybridRAG: "hybrid", RerankRAG: "rerank", MultiHopRAG: "multihop",
}  # fmt: skip
_PLAIN = (str, int, float, bool)


def reference_to(thing: Any) -> str:
    """Return `module:Name` of a class or function, as whoever loads it would import it.

    What was defined in a script is taken for a module of the script's name.
    """
    module = str(getattr(thing, "__module__", "") or "")
    if module == "__main__":
        module = _main_module()
    name = str(getattr(thing, "__qualname__", type(thing).__qualname__))
    return f"{module}:{name.replace('.<locals>', '')}"


def release_of(program: dspy.Module) -> str:
    """Return the version of the distribution or package that a program's class is from, or ""."""
    top = type(program).__module__.partition(".")[0]
    try:
        return version(packages_distributions()[top][0])
    except (KeyError, PackageNotFoundError):
        return str(getattr(sys.modules.get(top), "__version__", ""))


def options_of(program: dspy.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a program's class is to be called with to build it again.

    Args:
        program: One that was built.
        given: What is known; the other parameters of `__init__` are taken from the attributes of
            their names, where these are plain values.
    """
    names = list(inspect.signature(type(program).__init__).parameters)[1:]
    held = vars(program)
    found = {name: _plain(held[name]) for name in names if name in held}
    return {**{name: value for name, value in found.items() if value is not None}, **given}


def is_ours(program: dspy.Module) -> TypeGuard[RAG]:
    """Whether a program is of one of our kinds itself, and no class of somebody's own."""
    return type(program) in _KINDS


def section_of(program: dspy.Module, options: Mapping[str, Any]) -> ProgramSection:
    """Return the [program] table that builds such a program: one of our kinds, or its class."""
    kind = _KINDS.get(type(program))
    if kind is None or options:
        reference = reference_to(type(program))
        return ProgramSection(kind=reference, options=options_of(program, options))
    assert isinstance(program, RAG)
    table: dict[str, Any] = {
        "kind": kind, **({"reranker": "none"} if kind == "multihop" else {}),
        "abstain": program.options.abstain, "conversation": program.options.conversation,
    }  # fmt: skip
    stage: Any = program.retriever
    while isinstance(stage, RetrievalStage) and not isinstance(stage, DenseRetriever):
        table |= _described(stage)
        stage = getattr(stage, "retriever", None)
    return ProgramSection.model_validate(table)


def _described(stage: RetrievalStage) -> dict[str, Any]:
    match stage:
        case RerankRetriever():
            return _reranker(stage.reranker)
        case MultiHopRetriever():
            return {"hops": stage.hops}
        case ExpandedRetriever():
            made = stage.expansion
            return {"expansion": made.kind if type(made) is Expansion else reference_to(type(made))}
    return {}


def _reranker(reranker: Reranker) -> dict[str, Any]:
    match reranker:
        case CrossEncoder():
            return {"reranker": reranker.model, "backend": reranker.backend}
        case LibraryReranker():
            return {"reranker": f"library:{reranker.model}"}
        case ListwiseReranker():
            return {"reranker": "listwise"}
        case PointwiseReranker():
            return {"reranker": "pointwise"}
    ours = type(reranker).__module__.startswith("ragwright.")
    return {"reranker": reranker.name if ours else reference_to(type(reranker))}


def _main_module() -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    # As a name that a file can be called by, whether or not Python can import it.
    return re.sub(r"[^\w-]+", "_", Path(file).stem) if file else "__main__"


def _plain(value: Any) -> Any:
    """A value as JSON has it; None where it has none."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        parts = [_plain(one) for one in value]
        return None if any(part is None for part in parts) else parts
    return value if isinstance(value, _PLAIN) else None
