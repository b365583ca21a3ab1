"""Parts from outside, named `module:Class`: imported only where the caller allowed it.

A recipe, an artifact or an index is a file that may come from anyone, so that nothing is imported
on its word alone. The caller names the modules: `trust=["my_app.rag"]` in Python, `--trust` on the
command line, or the environment variable `RAGWRIGHT_TRUST` for servers.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragwright.retrievers.errors import InputError

VARIABLE = "RAGWRIGHT_TRUST"
"""Modules that are trusted besides those named in a call, separated by commas."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"({_NAME}(?:\.{_NAME})*):({_NAME}(?:\.{_NAME})*)")
_OF_SCRIPT = re.compile(r"[\w-]+(?:\.[\w-]+)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def is_reference(name: str) -> bool:
    """Whether a name has the form `module:Class`."""
    return _REFERENCE.fullmatch(name) is not None


def is_importable(name: str) -> bool:
    """Like `is_reference`, also in a module that no import statement can name: `01-rag:Support`.

    Scripts are often called so, and Python imports them by that name all the same. Where a name may
    be that of a model too ("bge-m3:latest"), only `is_reference` tells them apart.
    """
    return _OF_SCRIPT.fullmatch(name) is not None


def is_trusted(reference: str, trust: Iterable[str] = ()) -> bool:
    """Whether the module of a `module:Class`, or a package above it, was named by the caller."""
    module = reference.partition(":")[0]
    named = [*trust, *os.environ.get(VARIABLE, "").split(",")]
    allowed = [name.strip() for name in named if name.strip()]
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def import_allowed(reference: str, trust: Iterable[str] = (), *, beside: Path | None = None) -> Any:
    """Import what `module:Class` names, if the caller allowed its module.

    Args:
        reference: What a recipe, an artifact or an index names.
        trust: The modules, or packages above them, that the caller allows.
        beside: A folder that is searched after Python's own path, and before the working folder.

    Raises:
        InputError: The module was not allowed, cannot be imported, or lacks the name.
    """
    if not is_importable(reference):
        raise InputError(f"{reference!r} does not name a class.", hint="Write module:Class.")
    module, name = reference.split(":")
    check_trusted([reference], trust)
    with _searched(beside or Path.cwd(), Path.cwd()):
        try:
            return _attribute(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"{reference!r} cannot be imported: {error}.",
                hint="Put the module where Python finds it (PYTHONPATH), or beside the recipe.",
            ) from error


def check_trusted(references: Iterable[str], trust: Iterable[str] = ()) -> None:
    """Make sure that the caller allowed the modules of all these `module:Class`.

    Raises:
        InputError: Some were not allowed; the message names them all, and what allows them.
    """
    refused = [name for name in dict.fromkeys(references) if not is_trusted(name, trust)]
    if not refused:
        return
    modules = list(dict.fromkeys(name.partition(":")[0] for name in refused))
    options = " ".join(f"--trust {module}" for module in modules)
    raise InputError(
        f"{', '.join(map(repr, refused))} would import {', '.join(map(repr, modules))}, which was "
        "not allowed.",
        hint=f"If you trust this code: {options} on the command line, or trust={modules!r} in "
        "Python.",
    )


def resolve_reference(reference: str) -> Any:
    """Return what `module:Class` names, if its module has been imported or is trusted by now.

    This is for indexes, which are opened by many hands: nothing is imported on an index's word.
    Python's own modules are imported in any case, and are no parts of anybody's.

    Raises:
        InputError: Its module has not been imported, or lacks the name.
    """
    module, _, name = reference.partition(":")
    own = module.partition(".")[0] in sys.stdlib_module_names
    if own or module not in sys.modules or is_trusted(reference):
        return import_allowed(reference)
    try:
        return _attribute(sys.modules[module], name)
    except AttributeError as error:
        raise InputError(f"{reference!r} cannot be found: {error}.") from error


def resolve_class_with(reference: str, *methods: str) -> Any:
    """Return the class that `resolve_reference` finds, if it has these methods.

    Nothing but the methods is called.

    Raises:
        InputError: It is no class, or lacks one.
    """
    found = resolve_reference(reference)
    lacking = [name for name in methods if not callable(getattr(found, name, None))]
    if not isinstance(found, type) or lacking:
        what = f"lacks {', '.join(lacking)}" if lacking else "is no class"
        raise InputError(f"{reference!r} {what}.", hint="Write a class with what is asked for.")
    return found


def require_subclass(found: Any, base: type, reference: str) -> Any:
    """Make sure that a part from outside is a class of its kind.

    Raises:
        InputError: It is none.
    """
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(
            f"{reference!r} is no {base.__name__}.",
            hint=f"Write a class of your own on {base.__module__}.{base.__name__}.",
        )
    return found


def _attribute(found: Any, name: str) -> Any:
    for step in name.split("."):
        found = getattr(found, step)
    return found


@contextmanager
def _searched(*folders: Path) -> Iterator[None]:
    """Search folders last, so that nothing in them shadows an installed module."""
    added = [str(folder) for folder in dict.fromkeys(folders) if str(folder) not in sys.path]
    sys.path.extend(added)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)
