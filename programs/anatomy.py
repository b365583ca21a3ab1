"""Finds what any DSPy program is made of: retrieval stages, knobs, predictors, retrievers.

A copy of a program has the functions of its tools refer to the copy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.predict.parameter import Parameter

from ragwright.programs.copying import deep_copy, slots_of
from ragwright.programs.dspy_internals import compiled_parts, mark_compiled
from ragwright.programs.fallback import FallbackGuard
from ragwright.programs.knobs import Knobs
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.rebinding import Rebinding
from ragwright.programs.stage import RetrievalStage
from ragwright.programs.walking import COMPILE_RESULT, walk_parts
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.errors import InputError

_EXPOSED = "exposed_knobs"
"""The attribute in which DSPy sees the knobs that it did not."""
_NO_MODELS = frozenset({COMPILE_RESULT, "history", "demos", "traces", "train"})
"""Attributes of a part that no language model to answer by stands in."""
_DEEP = 2
"""Into how many lists or tables within each other models are looked for; they may hold themselves.
"""


def knobs_of(program: dspy.Module) -> dict[str, Knobs]:
    """Return every `Knobs` that a program holds, by its place; one that is shared stands once."""
    return {name: part for name, part in walk_parts(program) if isinstance(part, Knobs)}


def stages_of(program: dspy.Module) -> dict[str, list[RetrievalStage]]:
    """Return the stages that can be asked, by the place of their knobs, outermost first."""
    places = {id(leaf): place for place, leaf in knobs_of(program).items()}
    found: dict[str, list[RetrievalStage]] = {}
    for _, part in walk_parts(program):
        if isinstance(part, RetrievalStage):
            found.setdefault(places[id(part.knobs)], []).append(part)
    return found


def predictors_of(program: dspy.Module) -> list[dspy.Predict]:
    """Return every predictor, those in modules that are marked as compiled included."""
    return [part for _, part in walk_parts(program) if isinstance(part, dspy.Predict)]


def modules_of(program: dspy.Module) -> dict[str, dspy.Module]:
    """Return every module, by its place; the program itself is "self"."""
    found = {name: part for name, part in walk_parts(program) if isinstance(part, dspy.Module)}
    return {"self": program, **found}


def replace_models(program: dspy.Module, change: Callable[[dspy.BaseLM], dspy.BaseLM]) -> None:
    """Put others in the place of the language models that a program's parts hold.

    Those of predictors, and those that a module keeps as an attribute, or in a list or table, to
    answer by in a `with dspy.context(lm=...)` of its own.

    Args:
        program: Changed in place.
        change: Is given each language model once, and returns what is to stand for it.
    """
    made: dict[int, dspy.BaseLM] = {}

    def changed(held: Any, deep: int = _DEEP) -> Any:
        if isinstance(held, dspy.BaseLM):
            return made.setdefault(id(held), change(held))
        if deep and type(held) in (list, tuple):
            return type(held)(changed(one, deep - 1) for one in held)
        if deep and type(held) is dict:
            return {key: changed(one, deep - 1) for key, one in held.items()}
        return held

    for _, part in list(walk_parts(program)):
        for name, held in vars(part).items():
            if name not in _NO_MODELS and _has_model(held):
                vars(part)[name] = changed(held)


def _has_model(held: object, deep: int = _DEEP) -> bool:
    if deep and type(held) in (list, tuple, dict):
        parts: Any = held.values() if isinstance(held, dict) else held
        return any(_has_model(one, deep - 1) for one in parts)
    return isinstance(held, dspy.BaseLM)


def foreign_retrievers(program: dspy.Module) -> list[dspy.Retrieve]:
    """Return every `dspy.Retrieve` that is not part of a stage."""
    walked = [part for _, part in walk_parts(program)]
    inner = {
        id(part)
        for stage in walked
        if isinstance(stage, RetrievalStage)
        for _, part in walk_parts(stage)
        if isinstance(part, Retriever)
    }
    found = (part for part in walked if isinstance(part, dspy.Retrieve))
    return [part for part in found if id(part) not in inner and not _has_stages(part)]


def _has_stages(retriever: dspy.Retrieve) -> bool:
    """Whether a retriever of the user's searches by a stage of ours."""
    return any(isinstance(part, RetrievalStage) for _, part in walk_parts(retriever))


def searchers_of(program: dspy.Module) -> dict[str, RetrievalStage | Retriever]:
    """Return what a program searches with, by its place: stages, and our retrievers by themselves.

    What is part of a stage is left out.
    """
    walked = list(walk_parts(program))
    inner = {
        id(below)
        for _, part in walked
        if isinstance(part, RetrievalStage)
        for _, below in walk_parts(part)
        if below is not part
    }
    return {
        place: part
        for place, part in walked
        if isinstance(part, RetrievalStage | Retriever) and id(part) not in inner
    }


def hidden_knobs(program: dspy.Module) -> dict[str, Knobs]:
    """Return the knobs that DSPy does not see: those of tools, functions, lists in tables."""
    found = knobs_of(program)
    with thaw_compiled_parts(program):
        seen = {id(part) for part in program.parameters()}
    return {place: leaf for place, leaf in found.items() if id(leaf) not in seen}


def hidden_predictors(program: dspy.Module) -> list[str]:
    """Return the places of predictors that DSPy does not see: its optimizers leave them alone."""
    walked = list(walk_parts(program))
    with thaw_compiled_parts(program):
        seen = {id(part) for part in program.predictors()}
    return [
        place for place, part in walked if isinstance(part, dspy.Predict) and id(part) not in seen
    ]


@contextmanager
def thaw_compiled_parts(program: dspy.Module) -> Iterator[None]:
    """Let no part of a program be marked as compiled inside (`compiled_parts` says why)."""
    frozen = compiled_parts(program)
    for part in frozen:
        mark_compiled(part, False)
    try:
        yield
    finally:
        for part in frozen:
            mark_compiled(part, True)


def name_knobs(program: dspy.Module) -> None:
    """Tell every `Knobs` its place."""
    for place, leaf in knobs_of(program).items():
        leaf.place = place


def relocate_indexes(program: dspy.Module, paths: Mapping[str, str]) -> None:
    """Have every stage, retriever and reranker over an index use it where it lies now.

    Args:
        program: Changed in place.
        paths: Where each index was, and where it is.
    """
    for _, part in walk_parts(program):
        found = paths.get(getattr(part, "path", None) or "")
        if found is not None:
            part.path = found


def copy_program(program: dspy.Module) -> dspy.Module:
    """Return a deep copy whose tools refer to it, not to the program that it was copied from.

    What a function finds among its module's globals is shared.

    Raises:
        InputError: A module keeps something in slots, which DSPy does not copy.
    """
    parts = [part for _, part in walk_parts(program)]
    for part in parts:
        _check_slots(part)
    memo: dict[int, Any] = {}
    twin: dspy.Module = deep_copy(program, memo, _refers)
    rebound = Rebinding(memo, _refers)
    originals = set(map(id, parts))
    # Functions are made anew before the walk goes through them: they led to the original's parts.
    for _, part in walk_parts(twin):
        if id(part) not in originals:
            rebound.inside(vars(part))
    if any(_EXPOSED in vars(part) for part in parts):
        for _, part in list(walk_parts(twin)):
            if _EXPOSED in vars(part):
                expose_hidden_knobs(
                    part
                )  # those of a stage that is shared were copied with the table
    return twin


def _check_slots(part: object) -> None:
    """Refuse what every optimizer of DSPy's would lose: its modules copy their `__dict__`."""
    kept = [name for name in slots_of(part) if isinstance(part, dspy.Module)]
    if kept:
        raise InputError(
            f"{type(part).__name__} keeps {', '.join(map(repr, kept))} in __slots__, and DSPy "
            "neither sees nor copies that.",
            hint="Leave __slots__ out of classes that are a dspy.Module.",
        )


def expose_hidden_knobs(program: dspy.Module) -> None:
    """Keep the knobs that DSPy does not see where it sees them."""
    setattr(program, _EXPOSED, {})
    setattr(program, _EXPOSED, hidden_knobs(program))


def make_savable(program: dspy.Module) -> None:
    """Let DSPy's own `save` work for a program with retrievers of DSPy's.

    `dspy.Module.save` tells every parameter its `json_mode`, and `dspy.Retrieve` takes none.
    """
    for _, part in walk_parts(program):
        if isinstance(part, Parameter) and not isinstance(part, dspy.Module):
            taken = inspect.signature(part.dump_state).parameters
            if "json_mode" not in taken:
                vars(part)["dump_state"] = _Dumped(part)


@dataclass(frozen=True)
class _Dumped:
    """The `dump_state` of a parameter, told what it does not take."""

    part: Any

    def __call__(self, json_mode: bool = True) -> Any:
        return type(self.part).dump_state(self.part)


def protect(
    program: dspy.Module, settings: FallbackSettings, *, second_lm: dspy.LM | None = None
) -> None:
    """Let every stage of a program fall back instead of failing, from now on, tools' included.

    For serving. Leave it out when compiling or evaluating.
    """
    guard = FallbackGuard(settings, second_lm)
    for _, part in walk_parts(program):
        if isinstance(getattr(part, "guard", None), FallbackGuard):  # not what a user calls so
            part.guard = guard


def is_async_only(program: dspy.Module) -> bool:
    """Whether a program can be awaited and not called."""
    # Of the class: DSPy warns of every look at an instance's `forward` from outside.
    kind = type(program)
    return not hasattr(kind, "forward") and hasattr(kind, "aforward")


def as_callable(program: dspy.Module) -> dspy.Module:
    """Return a program that can be called: itself, or one that awaits it where it must be."""
    made: dspy.Module = dspy.syncify(program) if is_async_only(program) else program
    return made


def _refers(part: object) -> bool:
    """Whether something is, or leads to, a module or retriever."""
    return any(isinstance(one, dspy.Module | Parameter) for _, one in walk_parts(part))
