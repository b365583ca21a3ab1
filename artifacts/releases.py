"""The releases of Python and of packages: those that run now, and those that an artifact names."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from ragwright.artifacts.manifest import Versions


def installed_release(package: str) -> str | None:
    """Return the installed release of a package, or None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def current_versions() -> Versions:
    """Return the releases that run now."""
    return Versions(
        python=platform.python_version(),
        ragwright=installed_release("ragwright") or "not installed",
        dspy=version("dspy"),
        chromadb=version("chromadb"),
    )


def check_versions(saved: Versions) -> list[str]:
    """Return a note if DSPy is of another minor release than at saving: prompts may differ."""
    current = version("dspy")
    if saved.dspy.split(".")[:2] == current.split(".")[:2]:
        return []
    return [f"The artifact was saved with dspy {saved.dspy} and is read with {current}."]
