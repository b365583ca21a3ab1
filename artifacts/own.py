"""Programs of one's own in artifacts: what the manifest says of their class and stages, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts.binding import bind_index, check_index, locate_index, moved_index_notes
from ragwright.artifacts.manifest import IndexBinding, Manifest, ProgramFacts, StageFacts
from ragwright.artifacts.state import Shapes
from ragwright.programs.adopting import adopt_shared_stages
from ragwright.programs.anatomy import relocate_indexes, searchers_of
from ragwright.programs.build import build_own_program, build_program
from ragwright.programs.own import reference_to, release_of
from ragwright.programs.plain_retrievers import replace_as_saved
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError, InputError
from ragwright.retrievers.stamp import STAMP
from ragwright.retrievers.types import content_hash

IndexPlaces = str | Path | Mapping[str, str | Path] | None
"""Where indexes lie now: one path, or one for each stage by its place in the program."""


def program_facts(program: dspy.Module, shapes: Shapes, *, home: Path) -> ProgramFacts:
    """Describe a program of one's own: its class, its signatures, its stages and their indexes.

    Raises:
        IndexFault: A stage's index is not there.
    """
    bound: dict[str, IndexBinding] = {}
    stages = {}
    for place, part in searchers_of(program).items():
        if part.path not in bound:
            bound[part.path] = bind_index(part.path, home=home)
        kind, signals = _made_of(part)
        stages[place] = StageFacts(kind=kind, signals=signals, index=bound[part.path])
    module, _, name = reference_to(type(program)).partition(":")
    return ProgramFacts(
        module=module,
        name=name,
        version=release_of(program),
        fingerprint=_fingerprint(shapes, stages),
        stages=stages,
    )


def program_as_saved(
    manifest: Manifest, recipe: Recipe, program: dspy.Module | None = None
) -> dspy.Module:
    """Return the program that an artifact names, without its state.

    Args:
        manifest: Says which class, and what stages were saved.
        recipe: What it is built from, as far as the caller allows, if it is not given.
        program: One that the caller built; it has stages in place where the saved one had.

    Raises:
        ArtifactError: Manifest and recipe name different ones.
        InputError: A module would be imported that was not allowed.
    """
    facts = manifest.program
    if program is None:
        program = build_program(recipe) if facts is None else _built(facts, recipe)
    adopt_shared_stages(program)
    saved = facts.stages if facts else {}
    indexes = {place: stage.index.path for place, stage in saved.items() if stage.signals}
    replace_as_saved(program, indexes, rm=dspy.settings.rm)
    return program


def _built(facts: ProgramFacts, recipe: Recipe) -> dspy.Module:
    named = f"{facts.module}:{facts.name}"
    if recipe.program.kind != named:
        raise ArtifactError(
            f"The manifest names {named!r}, and the recipe {recipe.program.kind!r}.",
            hint="Restore the artifact's files or compile again.",
        )
    try:
        program: dspy.Module = build_own_program(recipe)
    except InputError as error:
        hint = f"{error.hint} Or build it yourself: load(path, program={facts.name}(...))."
        raise InputError(error.what, hint=hint) from error
    return program


def check_program(manifest: Manifest, program: dspy.Module) -> None:
    """Make sure that a program is the one that was saved, whatever its prompts and knobs.

    Args:
        manifest: Says what was saved.
        program: What it is to be loaded into.

    Raises:
        ArtifactError: It has other stages, or the manifest contradicts itself.
    """
    facts = manifest.program
    if facts is None:
        return
    if facts.fingerprint != _fingerprint(manifest.signatures, facts.stages):
        raise ArtifactError(
            "The manifest contradicts itself: its fingerprint is not that of its signatures and "
            "stages.",
            hint="Restore manifest.json or compile again.",
        )
    searchers = searchers_of(program)
    found = {place: _made_of(part) for place, part in searchers.items()}
    said = [_missing(place, facts.stages[place]) for place in facts.stages if place not in found]
    said += [
        f"{place!r} ({found[place][0]}) is new" for place in found if place not in facts.stages
    ]
    said += [
        f"{place!r} was {_shown(stage.kind, stage.signals)} and is {_shown(*found[place])}"
        for place, stage in facts.stages.items()
        if place in found and found[place] != (stage.kind, stage.signals)
    ]
    if said:
        asks_rm = any(
            getattr(part, "in_place_of", "") == dspy.Retrieve.__name__
            for part in searchers.values()
        )
        raise ArtifactError(
            f"The program {reference_to(type(program))!r} has other retrieval stages than the one "
            f"that was saved ({facts.module}:{facts.name}): {'; '.join(said)}.",
            hint="It asks dspy.settings.rm: set that with dspy.configure(rm=...) as it was when it "
            "was compiled."
            if asks_rm
            else "Load it into the program that it was saved from, or compile again.",
        )


def settle_indexes(
    program: dspy.Module, facts: ProgramFacts, *, folder: Path, given: IndexPlaces, own: bool
) -> list[str]:
    """Have a program's stages use the indexes where they lie now, and make sure that they fit.

    Args:
        program: Changed in place.
        facts: What the manifest says.
        folder: The version's folder.
        given: Where indexes have moved to, if the caller says so.
        own: Whether the caller built the program, and so knows where its indexes are.

    Returns:
        Notes about changes that do not prevent its use.

    Raises:
        InputError: One path was given for several indexes, or a place that has no stage.
        ArtifactError, IndexFault: An index does not fit, or is not there.
    """
    notes: list[str] = []
    moved: dict[str, str] = {}
    searchers = searchers_of(program)
    overrides = _overrides(facts, given)
    for place, stage in facts.stages.items():
        now, binding = searchers[place].path, stage.index
        if place in overrides:
            found = Path(overrides[place]).resolve()
        elif own or (_absolute(now) != binding.path and (Path(now) / STAMP).is_file()):
            found = Path(now)
        else:
            found = locate_index(binding, folder=folder, override=None)
            notes += moved_index_notes(binding, folder=folder, place=found)
        notes += check_index(binding, found)
        moved[now] = str(found)
    relocate_indexes(program, {old: new for old, new in moved.items() if old != new})
    return list(dict.fromkeys(notes))


def _overrides(facts: ProgramFacts, given: IndexPlaces) -> dict[str, str | Path]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        if unknown := [place for place in given if place not in facts.stages]:
            raise InputError(
                f"The program has no stage {unknown[0]!r}.",
                hint=f"It has {', '.join(map(repr, facts.stages)) or 'none'}.",
            )
        return dict(given)
    if len({stage.index.path for stage in facts.stages.values()}) > 1:
        raise InputError(
            "The program searches several indexes, and one path was given.",
            hint="In Python: index={"
            + ", ".join(f"{place!r}: PATH" for place in facts.stages)
            + "}. On the command line, leave --index out and put the indexes where they were, or "
            "beside the artifact as they were.",
        )
    return dict.fromkeys(facts.stages, given)


def _made_of(part: Any) -> tuple[str, tuple[str, ...]]:
    """The class of a stage with those of its parts, and what it weighs."""
    held = [one for value in vars(part).values()
            for one in (value if isinstance(value, list | tuple) else (value,))]  # fmt: skip
    inner = [
        _made_of(value)[0]
        for value in held
        if isinstance(value, dspy.Module | dspy.Retrieve) and not isinstance(value, dspy.Predict)
    ]
    kind = type(part).__name__ + (f"({', '.join(inner)})" if inner else "")
    signals = getattr(part, "signals", ())
    return kind, tuple(signal.name for signal in signals)


def _fingerprint(shapes: Shapes, stages: Mapping[str, StageFacts]) -> str:
    signatures = {name: [field.model_dump() for field in fields] for name, fields in shapes.items()}
    made = {place: [stage.kind, list(stage.signals)] for place, stage in stages.items()}
    return content_hash(json.dumps([signatures, made], sort_keys=True))


def _missing(place: str, stage: StageFacts) -> str:
    return f"{place!r} ({stage.kind}) is missing"


def _shown(kind: str, signals: tuple[str, ...]) -> str:
    return f"{kind} weighing {', '.join(signals) or 'nothing'}"


def _absolute(path: str) -> str:
    return str(Path(path).resolve())
