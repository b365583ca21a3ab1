"""What `rag artifacts` does with versions as a whole, and how that looks.

Whether a version still answers as it did is in `golden.py`. A list needs neither DSPy nor MLflow.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ragwright.artifacts.addresses import COMPILED, address_of, fetch_version
from ragwright.artifacts.cli.view import print_json, short_path, show_notes, stdout_console
from ragwright.artifacts.golden import read_golden
from ragwright.artifacts.integrity import read_manifest
from ragwright.artifacts.manifest import Comparison, Manifest
from ragwright.artifacts.promotion import delete_home, delete_version
from ragwright.artifacts.versions import ALIASES, Aliases, read_aliases, version_numbers
from ragwright.retrievers.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from ragwright.artifacts.diff import ArtifactDifference


@dataclass(frozen=True)
class VersionRow:
    """One version in a list; `problem` says why it cannot be read, of all of them for version 0."""

    artifact: str
    version: int
    aliases: tuple[str, ...]
    created: str = ""
    documents: int = 0
    golden: int = 0
    comparison: Comparison | None = None
    problem: str = ""


def list_versions(folder: Path) -> list[VersionRow]:
    """List the versions of an artifact, or of all artifacts in a folder.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {str(folder)!r}.", hint="`rag compile` makes the first artifact."
        )
    homes = [folder] if (folder / ALIASES).is_file() else sorted(folder.iterdir())
    return [row for home in homes if (home / ALIASES).is_file() for row in _versions(home)]


def show_list(rows: list[VersionRow], as_json: bool) -> None:
    """Print versions, one a line."""
    if as_json:
        print_json([_facts(row) for row in rows])
        return
    columns = ("artifact", "version", "saved", "score", "gain", "verdict", "golden")
    table = Table(*columns, box=None, padding=(0, 1))
    for row in rows:
        version = " ".join((str(row.version or ""), *row.aliases)).strip()
        if row.problem:
            table.add_row(escape(row.artifact), version, f"[red]{escape(row.problem)}[/red]")
            continue
        score, gain, verdict = _scores(row.comparison)
        saved, golden = row.created[:16].replace("T", " "), str(row.golden)
        table.add_row(escape(row.artifact), version, saved, score, gain, verdict, golden)
    stdout_console().print(table)


def show_diff(first: str, second: str, as_json: bool) -> None:
    """Compare two artifacts and print what differs."""
    from ragwright.artifacts.diff import artifact_differences
    from ragwright.artifacts.store import read_artifact

    with fetch_version(address_of(first)) as one, fetch_version(address_of(second)) as other:
        found = artifact_differences(read_artifact(one), read_artifact(other))
    if as_json:
        print_json([asdict(difference) for difference in found])
        return
    if not found:
        stdout_console().print("No difference.")
        return
    table = Table("", escape(first), escape(second), box=None, padding=(0, 1))
    for row in found:
        if row.part != "prompt":
            name = f"{row.part} {row.name}"
            table.add_row(escape(name), escape(_text(row.before)), escape(_text(row.after)))
    stdout_console().print(table)
    for row in found:
        _show_prompt(row)


def show_aliases(home: Path, aliases: Aliases, as_json: bool) -> None:
    """Print what an artifact's aliases mean."""
    if as_json:
        print_json({"artifact": str(home), "aliases": aliases})
        return
    known = ", ".join(f"{name} {number}" for name, number in sorted(aliases.items()))
    stdout_console().print(f"{escape(short_path(home))}: {known}", soft_wrap=True)


def delete_and_print(home: Path, selector: str, as_json: bool) -> None:
    """Delete a version, or everything if `selector` is empty, and say so."""
    gone = [delete_version(home, selector)] if selector else delete_home(home)
    if as_json:
        print_json({"artifact": str(home), "deleted": gone})
        return
    stdout_console().print(
        f"{escape(short_path(home))}: deleted {', '.join(map(str, gone))}", soft_wrap=True
    )


def publish_and_print(
    reference: str, tracking_uri: str | None, model: str | None, as_json: bool
) -> None:
    """Publish a version and print its address."""
    from ragwright.artifacts.publishing import publish_model

    quiet_mlflow()
    address = address_of(reference)
    uri = tracking_uri or _recorded_uri(address)
    done = publish_model(address, tracking_uri=uri, name=model)
    if as_json:
        print_json({**asdict(done), "address": done.address, "tracking_uri": uri})
        return
    what = "published" if done.created else "was published already"
    stdout_console().print(f"{done.address} {what} in {escape(uri)}", soft_wrap=True)
    for alias, version in done.aliases.items():
        stdout_console().print(f"models:/{done.name}@{alias} is version {version}", soft_wrap=True)


def pull_and_print(
    model: str, tracking_uri: str | None, output: Path | None, as_json: bool
) -> None:
    """Pull a model and print what came."""
    from ragwright.artifacts.publishing import pull_model

    quiet_mlflow()
    if tracking_uri is None:
        raise InputError(
            "No MLflow store was given.", hint="Give --tracking-uri, or set MLFLOW_TRACKING_URI."
        )
    done = pull_model(model, output or COMPILED / model, tracking_uri=tracking_uri)
    if as_json:
        print_json({"artifact": str(done.home), "added": done.added, "aliases": done.aliases})
        return
    show_notes([f"version {number} is new here" for number in done.added])
    show_aliases(done.home, done.aliases, as_json=False)


def quiet_mlflow() -> None:
    """Keep MLflow's own bars and notices off the terminal, and its patience within seconds.

    Without the latter it asks a server that is down eight times, for four minutes.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _versions(home: Path) -> list[VersionRow]:
    aliases: Aliases = {}
    damaged: list[VersionRow] = []
    try:
        aliases = read_aliases(home)
    except ArtifactError as error:  # which is no reason to list nothing of the others
        damaged = [VersionRow(home.name, 0, (ALIASES,), problem=error.what)]
    return damaged + [_row(home, number, aliases) for number in version_numbers(home)]


def _row(home: Path, number: int, aliases: Aliases) -> VersionRow:
    version = home / str(number)
    names = tuple(sorted(name for name, at in aliases.items() if at == number))
    try:
        manifest: Manifest = read_manifest(version)
        golden = len(read_golden(version))
    except ArtifactError as error:
        return VersionRow(home.name, number, names, problem=error.what)
    return VersionRow(
        artifact=home.name,
        version=number,
        aliases=names,
        created=manifest.created,
        documents=sum(index.documents for index in manifest.bindings),
        golden=golden,
        comparison=manifest.provenance.comparison,
    )


def _facts(row: VersionRow) -> dict[str, object]:
    comparison = row.comparison.model_dump(mode="json") if row.comparison else None
    return {**vars(row), "comparison": comparison}


def _scores(found: Comparison | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    return f"{found.compiled.mean:.3f}", f"{found.difference.mean:+.3f}", found.verdict


def _show_prompt(row: ArtifactDifference) -> None:
    from ragwright.artifacts.diff import text_diff

    if row.part != "prompt":
        return
    stdout_console().print(f"\nprompt {escape(row.name)}")
    for line in text_diff(row.before or "", row.after or ""):
        color = "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"
        stdout_console().print(f"[{color}]{escape(line)}[/{color}]", soft_wrap=True)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _recorded_uri(address: str) -> str:
    """Return the MLflow store that recorded the compile.

    Raises:
        InputError: The artifact does not come from a recorded compile.
    """
    from ragwright.artifacts.store import read_artifact

    tracking = read_artifact(address).manifest.provenance.tracking
    if tracking is None:
        raise InputError(
            "No MLflow store was given, and the artifact names none.",
            hint="Give --tracking-uri, or set MLFLOW_TRACKING_URI.",
        )
    return tracking.uri
