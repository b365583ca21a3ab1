"""Resolves the address of an artifact to a version's folder on this machine.

A path is resolved by `versions.py`; `models:/NAME@ALIAS`, `models:/NAME/3` and `models:/m-...` are
fetched from MLflow. Knows nothing of what a version holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ragwright.artifacts.files import read_text
from ragwright.artifacts.manifest import MANIFEST
from ragwright.artifacts.versions import ALIASES, resolve_version
from ragwright.retrievers.errors import ArtifactError

MODELS = "models:/"
ARTIFACT = "artifact"
"""What MLflow calls the version's folder among the model's files."""
COMPILED = Path("artifacts/compiled")
"""Where a bare name is looked for."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MODEL = re.compile(
    r"models:/(?:(?P<id>m-[0-9a-f]{8,})"
    rf"|(?P<name>{NAME.pattern})(?:@(?P<alias>{NAME.pattern})|/(?P<version>[0-9]{{1,9}})))"
)


def address_of(text: str) -> str:
    """Turn what a person names into an address: a bare name means a folder in `COMPILED`.

    `towns`, `towns@champion` and `towns@2` are names; whatever else, or is an artifact's folder
    itself, is left as it is.
    """
    name, at, selector = text.partition("@")
    if not NAME.fullmatch(name) or any(
        (Path(name) / file).is_file() for file in (ALIASES, MANIFEST)
    ):
        return text
    return f"{COMPILED / name}{at}{selector}"


def artifact_folder(text: str) -> Path:
    """Return the artifact's folder that a person names, leaving out the version.

    Raises:
        ArtifactError: There is no such artifact, or it is one of MLflow's.
    """
    return resolve_version(address_of(text)).parent


@contextmanager
def fetch_version(address: str | Path) -> Iterator[Path]:
    """Give the folder of a version; one from MLflow is there as long as the context lasts.

    Raises:
        ArtifactError: There is no such artifact, or MLflow cannot be asked.
    """
    if not str(address).startswith(MODELS):
        yield resolve_version(address)
        return
    with TemporaryDirectory() as scratch:
        yield download(str(address), Path(scratch))


def download(model: str, scratch: Path, *, tracking_uri: str | None = None) -> Path:
    """Find a model in MLflow and return the version's folder in it.

    Args:
        model: Such as `models:/towns@champion`.
        scratch: Where to put the files of a model that lies on another machine.
        tracking_uri: The MLflow store, if not the one of MLflow's settings.

    Raises:
        ArtifactError: There is no such model, or it holds no artifact.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        place = _model_folder(model, scratch, tracking_uri).resolve()
    except (
        MlflowException, SQLAlchemyError, OSError, ValueError, TypeError, ImportError,
    ) as error:  # fmt: skip
        # Whatever stands in the store as the place of a model is tried as one.
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArtifactError(
            f"MLflow does not give {model!r}: {said.rstrip('.')}.",
            hint="Check the name, the alias, and MLFLOW_TRACKING_URI.",
        ) from error
    named = _named(place, model)
    version: Path = (place / named).resolve()
    if not version.is_relative_to(place):
        raise ArtifactError(
            f"{model!r} points outside its folder: {named!r}.", hint="Publish the artifact again."
        )
    return version


def _named(place: Path, model: str) -> str:
    """Return where in a model's folder the artifact is said to be.

    Not by MLflow's own reader: what it raises of a damaged file depends on the damage.
    """
    import yaml

    try:
        said = yaml.safe_load(read_text(place / "MLmodel"))
        named = said["flavors"]["python_function"]["artifacts"][ARTIFACT]["path"]
    except (yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _not_ours(model) from error
    if not isinstance(named, str) or "\0" in named:
        raise _not_ours(model)
    return named


def _not_ours(model: str) -> ArtifactError:
    return ArtifactError(
        f"{model!r} is not a model that ragwright published.", hint="Name one that it did."
    )


def _model_folder(model: str, scratch: Path, tracking_uri: str | None) -> Path:
    # MLflow's own look-up of `models:/...` heeds its global store only.
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    source = urlsplit(_source(client, model))
    if source.scheme in ("", "file"):
        return Path(url2pathname(source.path))
    try:
        found = download_artifacts(
            artifact_uri=source.geturl(), dst_path=str(scratch), tracking_uri=client.tracking_uri
        )
    except Exception as error:
        # Each kind of store brings a client of its own, with errors of its own.
        raise OSError(str(error) or type(error).__name__) from error
    return Path(found)


def _source(client: Any, model: str) -> str:
    """Ask MLflow where the files of a model lie."""
    match = _MODEL.fullmatch(model)
    if match is None:
        raise ArtifactError(
            f"{model!r} is not the address of a model.",
            hint="Write models:/NAME@ALIAS, models:/NAME/VERSION or models:/m-ID.",
        )
    if match["id"]:
        return str(client.get_logged_model(match["id"]).artifact_location)
    if match["alias"]:
        return str(client.get_model_version_by_alias(match["name"], match["alias"]).source)
    return str(client.get_model_version(match["name"], match["version"]).source)
