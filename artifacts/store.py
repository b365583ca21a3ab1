"""A program on disk as an artifact, and back: `save`, `load` and `open_artifact`.

An artifact is one version folder (see `versions.py`) of JSON and Markdown:

    manifest.json    what it is, what it was tuned on, how it scored, hashes of all else
    recipe.json      how to build the program        state.json    what was learned
    prompts/*.md     the prompts, for people         report/*      the report of the compile
    learned.json     sources that were learned       learned/*     their numbers, as safetensors
    golden.json      questions with the answers that this program gave

No file of it is ever executed, and nothing is imported that the caller did not allow.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts.addresses import fetch_version
from ragwright.artifacts.binding import bind_index, check_index, locate_index, moved_index_notes
from ragwright.artifacts.compiled_result import compiled_with, recipe_for
from ragwright.artifacts.files import read_text, sha256
from ragwright.artifacts.golden import GOLDEN, GoldenQuestion, dump_golden
from ragwright.artifacts.integrity import damaged_version_files, read_manifest
from ragwright.artifacts.learned import (
    LEARNED,
    PartsByPlace,
    attach_sources,
    dump_sources,
    read_sources,
    sources_of,
)
from ragwright.artifacts.manifest import (
    MANIFEST,
    RECIPE,
    STATE,
    IndexBinding,
    Manifest,
    ProgramFacts,
    Provenance,
    parse_json,
)
from ragwright.artifacts.own import (
    IndexPlaces,
    check_program,
    program_as_saved,
    program_facts,
    settle_indexes,
)
from ragwright.artifacts.prompts import render_prompts
from ragwright.artifacts.releases import check_versions, current_versions
from ragwright.artifacts.state import (
    ProgramState,
    check_keys,
    check_names,
    check_secrets,
    check_shapes,
    check_state,
    current_names,
    dump_state,
    load_state,
    parameters_of,
    signature_shapes,
    uncompiled,
)
from ragwright.artifacts.writer import check_home, publish_version
from ragwright.programs.adopting import with_stages_of_its_own
from ragwright.programs.anatomy import predictors_of, searchers_of
from ragwright.programs.build import build_program, build_recipe_lm, protect_program
from ragwright.programs.lm import give_lm, warn_of_key
from ragwright.programs.lm_wrapper import as_lm
from ragwright.programs.recipe import Recipe
from ragwright.programs.sandbox import check_sandbox
from ragwright.retrievers.argument_checks import check_path, check_type
from ragwright.retrievers.errors import ArtifactError, InputError, ModelError, RecipeError

_HINT = "Restore the file or compile again."


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact read from disk and checked, its index not yet opened.

    Attributes:
        folder: The version's folder.
        manifest: What it says about itself.
        recipe: How to build the program; the index's path is where it was at saving.
        state: What was learned, checked against the program.
        program: The program as it was before it learned, over indexes that are not yet opened.
        sources: What it learned to search by; its knobs hold that already.
    """

    folder: Path
    manifest: Manifest
    recipe: Recipe
    state: ProgramState
    program: dspy.Module
    sources: PartsByPlace = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """An artifact that is ready to answer.

    Attributes:
        program: The program with its state and language model.
        recipe: The recipe it was built from, with the index that it now uses.
        manifest: What the artifact says about itself.
        notes: What has changed since it was saved and does not prevent its use.
    """

    program: dspy.Module
    recipe: Recipe
    manifest: Manifest
    notes: tuple[str, ...]


def save(
    program: dspy.Module,
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    options: Mapping[str, Any] | None = None,
    provenance: Provenance | None = None,
    report: str | Path | None = None,
    golden: Sequence[GoldenQuestion] = (),
) -> Path:
    """Save a program as a new version of an artifact: its candidate.

    It becomes what the artifact's name means, unless another version was promoted. A reader sees
    the old version or the new one, whatever happens in between. What a compile found goes along
    with a program that one returned: scores, report and golden questions.

    Args:
        program: Any program, compiled or not.
        folder: The artifact's folder; made if it is not there.
        recipe: What the program was built from, if it was built by `build_program`.
        options: What the class of a program of your own is called with, where `load` is to build
            it again; parameters that stand as plain attributes of their names need not be said.
        provenance: Data, scores, seeds and spend of the compile.
        report: A folder whose files go along under `report/`.
        golden: Questions with what the program gave, to compare later answers with.

    Returns:
        The new version's folder.

    Raises:
        ArtifactError: The program does not fit the recipe, a secret would be written, or the
            folder holds something else. Nothing has been written then.
        IndexFault: An index is not there.
    """
    home = _home(program, folder, recipe)
    program = with_stages_of_its_own(program)
    if recipe is None:
        found = compiled_with(program)
        recipe = recipe_for(program, home.resolve().name, options or {})
        provenance = provenance or found.provenance
        report = found.report if report is None else report
        golden = golden or found.golden
        fresh = uncompiled(program)
    else:
        fresh = build_program(recipe)
    sources = sources_of(program)
    attach_sources(fresh, sources)
    state = dump_state(program, fresh)
    check_keys(state, source=STATE)
    texts = {
        RECIPE: recipe.model_dump_json(indent=2) + "\n",
        STATE: json.dumps(state, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        **{f"prompts/{name}.md": text for name, text in render_prompts(program).items()},
    }
    if golden:
        texts[GOLDEN] = dump_golden(golden)
    learned = dump_sources(sources)
    texts |= {name: learned[name].decode() for name in (LEARNED,) if name in learned}
    files = {name: text.encode() for name, text in texts.items()}
    files |= learned | _report_files(report)
    made = signature_shapes(fresh)
    facts = program_facts(program, made, home=home) if recipe.program.own else None
    manifest = Manifest(
        name=recipe.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=current_versions(),
        language_model=recipe.lm.model,
        index=_index(recipe, facts, home),
        program=facts,
        parameters=tuple(state),
        signatures=made,
        provenance=provenance or Provenance(),
        files={name: sha256(content) for name, content in sorted(files.items())},
    )
    texts[MANIFEST] = manifest.dump()
    check_secrets(texts)
    return publish_version(home, files | {MANIFEST: texts[MANIFEST].encode()})


def _home(program: object, folder: object, recipe: object) -> Path:
    check_type("program", program, dspy.Module)
    check_type("recipe", recipe, Recipe, none=True)
    check_path("folder", folder)
    home = Path(str(folder))
    check_home(home)
    return home


def load(
    path: str | Path,
    *,
    program: dspy.Module | None = None,
    lm: dspy.BaseLM | None = None,
    index: IndexPlaces = None,
    trust: Iterable[str] = (),
) -> dspy.Module:
    """Load a compiled program, ready to be called: `load(path)(question="...").answer`.

    It falls back as its recipe's [fallback] says; what `open_artifact` returns does not.

    Args:
        path: An artifact's folder, one version of it (`FOLDER/2`, `FOLDER@2`, `FOLDER@champion`),
            or a model of MLflow's registry (`models:/NAME@champion`), found by MLflow's settings
            in the environment.
        program: A program of your own to load into, freshly built: nothing is imported then.
        lm: A language model to use instead of the recipe's.
        index: Where the index lies now, if it has moved; for a program of your own with several,
            a mapping with the place of each stage: `{"handbook": "..."}`.
        trust: The modules that the artifact may import, for the program's class and parts that it
            names as `module:Class`.

    Raises:
        ArtifactError: The artifact is damaged, does not fit this release or the program, or the
            index was made by another embedder or chunker.
        InputError: It would import a module that was not allowed.
        IndexFault: The index is not there.
        ModelError: A model cannot be had.
        MissingExtra: The program runs code that a model writes, and there is no sandbox for it.

    Warns:
        UserWarning: The documents changed since the artifact was saved, or DSPy did.
    """
    artifact = open_artifact(path, program=program, lm=lm, index=index, trust=trust)
    for note in artifact.notes:
        warnings.warn(note, stacklevel=2)
    protect_program(artifact.program, artifact.recipe)
    return artifact.program


def open_artifact(
    path: str | Path,
    *,
    program: dspy.Module | None = None,
    lm: dspy.BaseLM | None = None,
    index: IndexPlaces = None,
    trust: Iterable[str] = (),
) -> Artifact:
    """Load a compiled program with what is known of it. See `load`."""
    stored = read_artifact(path, program=program, trust=trust)
    if stored.manifest.program is None:
        built, recipe, notes = _built(stored, index)
    else:
        built, recipe, notes = _settled(stored, index, own=program is not None)
    notes += check_versions(stored.manifest.versions)
    check_sandbox(built, start=False)
    attach_sources(built, stored.sources)
    load_state(built, stored.state)
    _answering(built, recipe, lm)
    return Artifact(built, recipe, stored.manifest, tuple(notes))


def _built(stored: StoredArtifact, index: IndexPlaces) -> tuple[dspy.Module, Recipe, list[str]]:
    """Build a recipe's program over the index where it lies now."""
    if isinstance(index, Mapping):
        raise InputError("The program has one index.", hint="Give its path.")
    binding = stored.manifest.index
    if binding is None:
        raise ArtifactError("The manifest names no index.", hint=_HINT)
    place = locate_index(binding, folder=stored.folder, override=index)
    notes = check_index(binding, place)
    if index is None:
        notes += moved_index_notes(binding, folder=stored.folder, place=place)
    recipe = _over(stored.recipe, str(place))
    return build_program(recipe), recipe, notes


def _settled(
    stored: StoredArtifact, index: IndexPlaces, *, own: bool
) -> tuple[dspy.Module, Recipe, list[str]]:
    """Have a program of one's own use its indexes where they lie now."""
    facts, program = stored.manifest.program, stored.program
    assert facts is not None
    notes = settle_indexes(program, facts, folder=stored.folder, given=index, own=own)
    paths = [part.path for part in searchers_of(program).values()]
    return program, _over(stored.recipe, paths[0]) if paths else stored.recipe, notes


def _over(recipe: Recipe, path: str) -> Recipe:
    return recipe.model_copy(update={"index": recipe.index.model_copy(update={"path": path})})


def _answering(program: dspy.Module, recipe: Recipe, lm: dspy.BaseLM | None) -> None:
    """Give predictors a language model: all of them in ours, those that have none in others."""
    try:
        chosen = as_lm(lm) if lm is not None else build_recipe_lm(recipe)
    except ModelError as error:
        raise ModelError(
            f"The artifact's language model cannot be built from its name: {error.what}",
            hint=f"In Python, load(path, lm=...) takes one of any class. {error.hint}",
        ) from error
    if lm is None:
        warn_of_key(recipe.lm.model, recipe.lm.api_base)
    give_lm(program, chosen)
    for predictor in predictors_of(program):
        if not recipe.program.own or predictor.lm is None:
            predictor.lm = chosen


def read_artifact(
    path: str | Path, *, program: dspy.Module | None = None, trust: Iterable[str] = ()
) -> StoredArtifact:
    """Read an artifact and check all of it that can be checked without its index.

    Args:
        path: See `load`.
        program: See `load`.
        trust: See `load`.

    Raises:
        ArtifactError: It is damaged, or does not fit this release or the program.
        InputError: It would import a module that was not allowed.
    """
    with fetch_version(path) as version:
        return _read(version, program, trust)


def _read(folder: Path, program: dspy.Module | None, trust: Iterable[str]) -> StoredArtifact:
    manifest = read_manifest(folder)
    recipe = _read_recipe(folder / RECIPE).trusting(trust)
    fresh = program_as_saved(manifest, recipe, program)
    sources = read_sources(folder, manifest)
    attach_sources(fresh, sources)
    made = signature_shapes(fresh)
    check_names(manifest.signatures, made, what="The manifest")
    check_shapes(manifest.signatures, made)
    check_program(manifest, fresh)
    today = parameters_of(fresh)
    check_names(current_names(manifest.parameters, today), today, what="The manifest")
    state = parse_json(read_text(folder / STATE), source=str(folder / STATE))
    if isinstance(state, dict):
        state = dict(zip(current_names(state, today), state.values(), strict=True))
    checked = check_state(state, fresh)
    # Last, so that a file that says something wrong is told so, not merely that it was changed.
    if complaints := damaged_version_files(folder, manifest):
        raise ArtifactError(complaints[0], hint=_HINT)
    return StoredArtifact(folder, manifest, recipe, checked, fresh, sources)


def _index(recipe: Recipe, facts: ProgramFacts | None, home: Path) -> IndexBinding | None:
    """The index that the manifest names first."""
    if facts is None:
        return bind_index(recipe.index.path, home=home)
    return next((stage.index for stage in facts.stages.values()), None)


def _read_recipe(file: Path) -> Recipe:
    table = parse_json(read_text(file), source=str(file))
    try:
        return Recipe.checked(table, source=str(file))
    except RecipeError as error:
        raise ArtifactError(error.what, hint=_HINT) from error


def _report_files(report: str | Path | None) -> dict[str, bytes]:
    if report is None:
        return {}
    root = Path(report)
    return {
        f"report/{file.relative_to(root).as_posix()}": file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }
