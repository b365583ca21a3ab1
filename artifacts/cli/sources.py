"""Where a program or an index is to be found, as a person names it on a command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ragwright.artifacts.addresses import address_of
from ragwright.artifacts.versions import is_artifact
from ragwright.retrievers.errors import InputError


@dataclass(frozen=True)
class ProgramSource:
    """Where a program or an index is to be found; one of `recipe` and `artifact`, or an index."""

    recipe: Path | None
    artifact: Path | None
    index: Path | None = None

    @classmethod
    def of(
        cls, given: Path | None, artifact: Path | None, index: Path | None = None
    ) -> ProgramSource:
        """Read what a command was given; an artifact is one without `--artifact`, too.

        A folder of documents is that, though an artifact be called the same.
        """
        if artifact is not None:
            return cls(given, Path(address_of(str(artifact))), index)
        if given is None or (given.is_dir() and not is_artifact(given)):
            return cls(given, None, index)
        named = named_artifact(given)
        return cls(None if named else given, named, index)


def named_artifact(given: Path) -> Path | None:
    """Return the artifact that a person names: by its folder, or by its name alone."""
    address = Path(address_of(str(given)))
    return address if is_artifact(address) else None


def require_recipe(path: Path | None) -> Path:
    """Return the recipe that a command was given.

    Raises:
        InputError: It was given none.
    """
    if path is None:
        raise InputError("No recipe was given.", hint="Give a recipe, or else --artifact.")
    return path
