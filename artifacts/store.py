"""A program in, an artifact on disk out, and back: `save`, `load` and `open_artifact`.

An artifact is one version folder (see `versions.py`) of JSON and Markdown:

    manifest.json    what it is, what it was tuned on, how it scored, hashes of all else
    recipe.json      how to build the program        state.json    what was learned
    prompts/*.md     the prompts, for people         report/*      the report of the compile
    golden.json      questions with the answers that this program gave

No file of it is ever executed. Knows nothing of how programs are compiled.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dspy

from ragwright.artifacts.addresses import fetched
from ragwright.artifacts.binding import bind_index, check_index, elsewhere, locate_index
from ragwright.artifacts.files import read_text, sha256
from ragwright.artifacts.golden import GOLDEN, GoldenQuestion, dump_golden
from ragwright.artifacts.integrity import damaged_files, read_manifest
from ragwright.artifacts.manifest import (
    MANIFEST,
    RECIPE,
    STATE,
    Manifest,
    Provenance,
    parse_json,
)
from ragwright.artifacts.prompts import render_prompts
from ragwright.artifacts.releases import check_versions, current_versions
from ragwright.artifacts.state import (
    State,
    check_keys,
    check_names,
    check_secrets,
    check_shapes,
    check_state,
    dump_state,
    shapes,
)
from ragwright.artifacts.writer import check_home, publish
from ragwright.programs.build import build_program, build_recipe_lm, protect_program
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError, RecipeError

_HINT = "Restore the file or compile again."


@dataclass(frozen=True)
class Stored:
    """An artifact read from disk and checked, its index not yet opened.

    Attributes:
        folder: The version's folder.
        manifest: What it says about itself.
        recipe: How to build the program; the index's path is where it was at saving.
        state: What was learned, checked against the recipe's program.
    """

    folder: Path
    manifest: Manifest
    recipe: Recipe
    state: State


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
    recipe: Recipe,
    provenance: Provenance | None = None,
    report: str | Path | None = None,
    golden: Sequence[GoldenQuestion] = (),
) -> Path:
    """Save a program as a new version of an artifact: its candidate.

    It becomes what the artifact's name means, unless another version was promoted. A reader sees
    the old version or the new one, whatever happens in between.

    Args:
        program: A program built by `build_program(recipe)`, compiled or not.
        folder: The artifact's folder; made if it is not there.
        recipe: What the program was built from.
        provenance: Data, scores, seeds and spend of the compile.
        report: A folder whose files go along under `report/`.
        golden: Questions with what the program gave, to compare later answers with.

    Returns:
        The new version's folder.

    Raises:
        ArtifactError: The program does not fit the recipe, a secret would be written, or the
            folder holds something else. Nothing has been written then.
        IndexFault: The recipe's index is not there.
    """
    home = Path(folder)
    check_home(home)
    fresh = build_program(recipe)
    state = dump_state(program, fresh)
    check_keys(state, source=STATE)
    texts = {
        RECIPE: recipe.model_dump_json(indent=2) + "\n",
        STATE: json.dumps(state, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        **{f"prompts/{name}.md": text for name, text in render_prompts(program).items()},
    }
    if golden:
        texts[GOLDEN] = dump_golden(golden)
    files = {name: text.encode() for name, text in texts.items()} | _report_files(report)
    manifest = Manifest(
        name=recipe.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=current_versions(),
        language_model=recipe.lm.model,
        index=bind_index(recipe.index.path, home=home),
        parameters=tuple(state),
        signatures=shapes(fresh),
        provenance=provenance or Provenance(),
        files={name: sha256(content) for name, content in sorted(files.items())},
    )
    texts[MANIFEST] = manifest.dump()
    check_secrets(texts)
    return publish(home, files | {MANIFEST: texts[MANIFEST].encode()})


def load(
    path: str | Path,
    *,
    lm: dspy.LM | None = None,
    index: str | Path | None = None,
    trust: Iterable[str] = (),
) -> dspy.Module:
    """Load a compiled program, ready to be called: `load(path)(question="...").answer`.

    It falls back as its recipe's [fallback] says; what `open_artifact` returns does not.

    Args:
        path: An artifact's folder, one version of it (`FOLDER/2`, `FOLDER@2`, `FOLDER@champion`),
            or a model of MLflow's registry (`models:/NAME@champion`), found by MLflow's settings
            in the environment.
        lm: A language model to use instead of the recipe's.
        index: Where the index lies now, if it has moved.
        trust: The modules that the artifact may import, for parts that it names as `module:Class`.

    Raises:
        ArtifactError: The artifact is damaged, does not fit this release, or the index was made
            by another embedder or chunker.
        InputError: It would import a module that was not allowed.
        IndexFault: The index is not there.
        ModelError: A model cannot be had.

    Warns:
        UserWarning: The documents changed since the artifact was saved, or DSPy did.
    """
    artifact = open_artifact(path, lm=lm, index=index, trust=trust)
    for note in artifact.notes:
        warnings.warn(note, stacklevel=2)
    protect_program(artifact.program, artifact.recipe)
    return artifact.program


def open_artifact(
    path: str | Path,
    *,
    lm: dspy.LM | None = None,
    index: str | Path | None = None,
    trust: Iterable[str] = (),
) -> Artifact:
    """Load a compiled program with what is known of it. See `load`."""
    stored = read_artifact(path, trust=trust)
    place = locate_index(stored.manifest.index, folder=stored.folder, override=index)
    notes = check_index(stored.manifest.index, place)
    if index is None:
        notes += elsewhere(stored.manifest.index, folder=stored.folder, place=place)
    notes += check_versions(stored.manifest.versions)
    section = stored.recipe.index.model_copy(update={"path": str(place)})
    recipe = stored.recipe.model_copy(update={"index": section})
    program = build_program(recipe)
    program.load_state(stored.state)
    program.set_lm(lm or build_recipe_lm(recipe))
    return Artifact(program, recipe, stored.manifest, tuple(notes))


def read_artifact(path: str | Path, *, trust: Iterable[str] = ()) -> Stored:
    """Read an artifact and check all of it that can be checked without its index.

    Args:
        path: See `load`.
        trust: See `load`.

    Raises:
        ArtifactError: It is damaged, or does not fit this release.
        InputError: It would import a module that was not allowed.
    """
    with fetched(path) as version:
        return _read(version, trust)


def _read(folder: Path, trust: Iterable[str]) -> Stored:
    manifest = read_manifest(folder)
    recipe = _read_recipe(folder / RECIPE).trusting(trust)
    fresh = build_program(recipe)
    parameters = [name for name, _ in fresh.named_parameters()]
    check_names(manifest.parameters, parameters, what="The manifest")
    check_shapes(manifest.signatures, shapes(fresh))
    state = parse_json(read_text(folder / STATE), source=str(folder / STATE))
    checked = check_state(state, fresh)
    # Last, so that a file that says something wrong is told so, not merely that it was changed.
    if complaints := damaged_files(folder, manifest):
        raise ArtifactError(complaints[0], hint=_HINT)
    return Stored(folder, manifest, recipe, checked)


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
