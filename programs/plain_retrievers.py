"""Puts stages, which a compile can tune, in the place of retrievers that have no knobs.

The first program of most tutorials asks `dspy.Retrieve(k=3)`, which asks `dspy.settings.rm`; others
hold a `ChromaRetriever`. A stage in its place finds what it found, and can be told to find better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dis import get_instructions
from itertools import pairwise
from typing import Any, cast

import dspy

from ragwright.programs.anatomy import copy_program
from ragwright.programs.copying import is_users_class
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.knobs import LARGEST_K, Knobs, KnobValues
from ragwright.programs.methods import codes_of, methods_of
from ragwright.programs.stage import RetrievalStage
from ragwright.programs.walking import walk_parts
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.sparse import KeywordRetriever

_STARTS = {
    ChromaRetriever: KnobValues.dense(),
    KeywordRetriever: KnobValues(weight_dense=0, weight_bm25=1),
}
"""With which knobs a hybrid stage finds what a retriever found."""


def replace_plain_retrievers(program: dspy.Module, *, rm: object = None) -> None:
    """Have a program, in place, search with stages where it asks retrievers without knobs.

    Those are our retrievers by themselves, and `dspy.Retrieve` where it asks one of ours or a stage
    of ours. What stands in a list or a table, returns more than `LARGEST_K` passages, or is asked
    for its `k` by the program, which a stage has among its knobs, stays.

    Args:
        program: Whose attributes, and those of its modules, are changed.
        rm: What `dspy.Retrieve` asks, unless the program says that itself.
    """
    asked = None if _names_rm(program) else rm
    _replace(program, lambda _, retriever: _stage_for(retriever, asked))


def with_stages_for_retrievers(program: dspy.Module) -> dspy.Module:
    """Return a program that asks no retriever without knobs if that can be: itself, or a copy."""
    if next(_plain_retrievers(program), None) is None:
        return program
    twin = copy_program(program)
    replace_plain_retrievers(twin, rm=dspy.settings.rm)
    return twin


def replace_as_saved(program: dspy.Module, indexes: Mapping[str, str], *, rm: object) -> None:
    """Have a program, in place, search with stages where the saved one did.

    Args:
        program: As its class makes it.
        indexes: The index of each stage that was saved, by the stage's place.
        rm: What `dspy.Retrieve` asks; if that is none of ours, a hybrid stage over the saved index
            stands there.
    """

    def chosen(place: str, retriever: dspy.Retrieve) -> RetrievalStage | None:
        if place not in indexes:
            return None
        return _stage_for(retriever, rm) or _stage_for(retriever, HybridRetriever(indexes[place]))

    _replace(program, chosen)


def _replace(
    program: dspy.Module, chosen: Callable[[str, dspy.Retrieve], RetrievalStage | None]
) -> None:
    made: dict[int, RetrievalStage | None] = {}
    for place, owner, name, retriever in list(_plain_retrievers(program)):
        if id(retriever) not in made:
            made[id(retriever)] = chosen(place, retriever)
        if (stage := made[id(retriever)]) is not None:
            setattr(owner, name, stage)


def _plain_retrievers(program: dspy.Module) -> Iterator[tuple[str, Any, str, dspy.Retrieve]]:
    """Yield the retrievers that attributes of a user's modules hold: place, owner, name, itself."""
    names_k = _asked_for_k(program)
    for place, owner in walk_parts(program):
        if isinstance(owner, dspy.Module) and is_users_class(type(owner)):
            for name, held in vars(owner).items():
                if type(held) in (dspy.Retrieve, *_STARTS) and name not in names_k:
                    yield f"{place}.{name}".removeprefix("self."), owner, name, held


def _names_rm(program: dspy.Module) -> bool:
    """Whether a method says what `dspy.Retrieve` asks, as in `with dspy.context(rm=self.rm)`."""
    codes = (code for method in methods_of(program) for code in codes_of(method))
    named = (one for code in codes for one in code.co_consts if isinstance(one, tuple))
    return any("rm" in names for names in named)


def _asked_for_k(program: dspy.Module) -> set[str]:
    """The attributes whose `k` a method reads or sets, as in `self.retrieve.k = 9`."""
    codes = (code for method in methods_of(program) for code in codes_of(method))
    steps = (pair for code in codes for pair in pairwise(get_instructions(code)))
    return {
        held.argval
        for held, of_it in steps
        if held.opname == "LOAD_ATTR" and of_it.opname.endswith("_ATTR") and of_it.argval == "k"
    }


def _stage_for(retriever: dspy.Retrieve, rm: object) -> RetrievalStage | None:
    """The stage that finds what a retriever finds; None where there is none."""
    asked = rm if type(retriever) is dspy.Retrieve else retriever
    if not isinstance(retriever.k, int) or not 1 <= retriever.k <= LARGEST_K:
        return None
    if isinstance(asked, RetrievalStage):
        stage = cast(RetrievalStage, copy_program(asked))
    elif isinstance(asked, Retriever) and type(asked) in _STARTS:
        stage = HybridRetriever(asked.path, knobs=Knobs(_STARTS[type(asked)]))
    else:
        return None
    stage.knobs.values = stage.knobs.values.replaced(k=retriever.k)
    stage.in_place_of = type(retriever).__name__
    return stage
