"""Artifacts into MLflow's model registry, and out of it again, aliases included.

A published version is a model version that carries the hash of the artifact's manifest, by which
both sides know it again: publishing twice makes no second one, and pulling makes no second copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragwright.artifacts.addresses import MODELS, NAME, download
from ragwright.artifacts.files import read_content
from ragwright.artifacts.integrity import version_hash
from ragwright.artifacts.manifest import MANIFEST
from ragwright.artifacts.model_prompts import linked_in, mirror_prompts
from ragwright.artifacts.promotion import set_aliases
from ragwright.artifacts.registry import HASH_TAG, logged_model, model_page
from ragwright.artifacts.store import StoredArtifact, read_artifact
from ragwright.artifacts.versions import (
    ALIASES,
    CANDIDATE,
    CHAMPION,
    Aliases,
    find_version,
    read_aliases,
    version_numbers,
)
from ragwright.artifacts.writer import check_home, publish_version
from ragwright.retrievers.errors import ArtifactError
from ragwright.retrievers.mlflow_database import database_file, mlflow_client

LINKS_TAG = "mlflow.modelVersions"
"""The tag by which MLflow's own `register_model` ties a logged model to its versions."""
SHARED = (CANDIDATE, CHAMPION)
"""The aliases that mean the same here and in MLflow."""


@dataclass(frozen=True)
class ModelVersion:
    """A model version.

    Attributes:
        name: The registered model.
        version: Its version in MLflow.
        created: Whether it is new, rather than found there.
        aliases: The aliases in MLflow that were set, and the version each one means there.
    """

    name: str
    version: int
    created: bool
    aliases: Aliases

    @property
    def address(self) -> str:
        """What `load` takes."""
        return f"{MODELS}{self.name}/{self.version}"


@dataclass(frozen=True)
class PulledModel:
    """What was brought here.

    Attributes:
        home: The artifact's folder.
        added: Numbers of the versions that were not here before.
        aliases: All aliases as they are here now.
    """

    home: Path
    added: tuple[int, ...]
    aliases: Aliases


def publish_model(path: str | Path, *, tracking_uri: str, name: str | None = None) -> ModelVersion:
    """Make a version of an artifact a version of a registered model.

    The model that the compile logged is registered where it is still there; otherwise a new one
    is logged. Aliases are set in MLflow as they are here, for versions that are published.

    Args:
        path: The artifact's folder, or one version of it.
        tracking_uri: The MLflow store, which holds the registry too.
        name: The registered model; the artifact's name if not given.

    Raises:
        ArtifactError: The artifact is damaged, or MLflow refuses.
    """
    stored = read_artifact(path)
    model = _checked(name or stored.manifest.name)
    with _heard(tracking_uri):
        client = mlflow_client(tracking_uri)
        known = _known_versions(client, model)
        version = known.get(version_hash(stored.folder))
        created = version is None
        if version is None:
            version = known[version_hash(stored.folder)] = _register(client, stored, model)
        aliases = _mirrored(client, stored.folder.parent, model, known)
    return ModelVersion(model, version, created, aliases)


def pull_model(name: str, home: str | Path, *, tracking_uri: str) -> PulledModel:
    """Bring those versions of a registered model here that its aliases mean, and the aliases.

    Promoting in MLflow and pulling here is promoting here: all aliases change in one step.

    Args:
        name: The registered model.
        home: The artifact's folder; made if it is not there.
        tracking_uri: The MLflow store.

    Raises:
        ArtifactError: MLflow has no such model or no alias for it, a version is damaged, or the
            folder holds something else.
    """
    folder = Path(home)
    check_home(folder)
    _checked(name)
    file = database_file(tracking_uri)
    if file is not None and not file.is_file():  # MLflow would make it, and find nothing in it
        raise ArtifactError(
            f"There is no MLflow store at {tracking_uri!r}.", hint="Check --tracking-uri."
        )
    with _heard(tracking_uri):
        there = mlflow_client(tracking_uri).get_registered_model(name).aliases
    wanted = {alias: there[alias] for alias in SHARED if alias in there}
    if not wanted:
        raise ArtifactError(
            f"The model {name!r} in {tracking_uri!r} has no alias {' or '.join(SHARED)}.",
            hint="Set one in MLflow, or with `rag artifacts publish`.",
        )
    added: list[int] = []
    changes = {alias: _local(folder, name, at, tracking_uri, added) for alias, at in wanted.items()}
    return PulledModel(folder, tuple(added), set_aliases(folder, changes))


def _local(home: Path, name: str, at: str, tracking_uri: str, added: list[int]) -> int:
    """Return the number that a model version has here, after copying it if it has none."""
    with TemporaryDirectory() as scratch:
        version = download(f"{MODELS}{name}/{at}", Path(scratch), tracking_uri=tracking_uri)
        stored = read_artifact(version)
        known = {version_hash(home / str(number)): number for number in version_numbers(home)}
        if (found := known.get(version_hash(version))) is not None:
            return found
        files = {name: _content(version, name) for name in (MANIFEST, *stored.manifest.files)}
        added.append(int(publish_version(home, files, candidate=False).name))
        return added[-1]


def _content(version: Path, name: str) -> bytes:
    """Read one of the files that the manifest names; what lies beside them stays where it is.

    Raises:
        ArtifactError: A link is on the way there: it may lead to any file of this machine.
    """
    file = version / name
    steps = [file, *file.parents][: len(Path(name).parts)]
    if any(step.is_symlink() for step in steps):
        raise ArtifactError(
            f"The artifact's file {name!r} is a link.", hint="Publish the artifact again."
        )
    return read_content(file)


def _known_versions(client: Any, name: str) -> dict[str, int]:
    """Return the versions of a registered model by the hash of what they hold."""
    found = client.search_model_versions(f"name = '{name}'")
    return {v.tags[HASH_TAG]: int(v.version) for v in found if HASH_TAG in v.tags}


def _register(client: Any, stored: StoredArtifact, name: str) -> int:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    model = logged_model(client, stored)
    logged = client.get_logged_model(model)
    page = model_page(stored, logged.source_run_id)
    client.update_registered_model(name, page)
    made = client.create_model_version(
        name,
        # Not `models:/ID`: MLflow would look that up in its global store, not in this one.
        source=logged.artifact_location,
        run_id=logged.source_run_id,
        tags={HASH_TAG: version_hash(stored.folder), "ragwright.version": stored.folder.name},
        description=page,
        model_id=model,
    )
    _link(client, logged, {"name": name, "version": made.version})
    return int(made.version)


def _link(client: Any, logged: Any, version: dict[str, Any]) -> None:
    """Let MLflow's pages of model and run lead to the model version."""
    links = [*linked_in(logged.tags, LINKS_TAG), version]
    client.set_logged_model_tags(logged.model_id, {LINKS_TAG: json.dumps(links)})


def _mirrored(client: Any, home: Path, name: str, known: dict[str, int]) -> Aliases:
    """Set the shared aliases of a home in MLflow, for versions that are there."""
    if not (home / ALIASES).is_file():
        return {}
    here = read_aliases(home)
    found = {alias: find_version(home, str(here[alias])) for alias in SHARED if alias in here}
    aliases = {
        alias: known[digest]
        for alias, version in found.items()
        if (digest := version_hash(version)) in known
    }
    for alias, version in aliases.items():
        client.set_registered_model_alias(name, alias, str(version))
        run = client.get_model_version(name, str(version)).run_id
        if run:
            mirror_prompts(client, run, alias)
    return aliases


def _checked(name: str) -> str:
    if NAME.fullmatch(name):
        return name
    raise ArtifactError(
        f"{name!r} is not a name for a model.", hint="Use letters, digits, `.`, `-` and `_`."
    )


@contextmanager
def _heard(tracking_uri: str) -> Iterator[None]:
    """Translate what MLflow and its database raise where they refuse."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ArtifactError(
            f"MLflow at {tracking_uri!r} refuses: {said.rstrip('.')}.",
            hint="Check the name and the address.",
        ) from error
