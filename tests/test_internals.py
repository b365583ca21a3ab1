"""What libraries do not promise to keep is used in one module per library, and is still there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import chromadb
import dspy
import mlflow.data
import pandas as pd
import pytest
from chromadb.api.async_fastapi import AsyncFastAPI
from chromadb.api.models.Collection import Collection
from chromadb.api.shared_system_client import SharedSystemClient
from mlflow import MlflowClient
from mlflow.utils import requirements_utils

from ragwright.artifacts.mlflow_internals import prompt_registry, requirements_known
from ragwright.optimize.report.mlflow_internals import data_set_entity
from ragwright.programs import dspy_internals
from ragwright.retrievers.mlflow_database import make_database

from .test_architecture import Module, modules

HOMES = {
    "retrievers/stores/chroma_internals.py",
    "programs/dspy_internals.py",
    "optimize/report/mlflow_internals.py",
    "artifacts/mlflow_internals.py",  # artifacts know nothing of optimize, and each needs one name
    "retrievers/documents/decoding.py",  # of the standard library, which has no other way
}


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _defined() -> set[str]:
    """Names that the packages define themselves."""
    found: set[str] = set()
    for module in modules():
        for node in ast.walk(module.tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                    found.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
    return found


def foreign(module: Module, own: set[str]) -> Iterator[str]:
    """Private names of others that a module imports or reads."""
    for node in ast.walk(module.tree):
        match node:
            case ast.ImportFrom(module=str(path), names=names) if "ragwright" not in path:
                for name in (f"{path}.{alias.name}" for alias in names):
                    if any(map(_private, name.split("."))):
                        yield module.at(node, name)
            case ast.Attribute(attr=name) if _private(name) and name not in own:
                yield module.at(node, name)


def test_what_is_private_to_a_library_is_used_in_one_place() -> None:
    own = _defined()
    found = {module.path: list(foreign(module, own)) for module in modules()}
    assert not [where for path, all_ in found.items() if path not in HOMES for where in all_]
    assert all(found[path] for path in HOMES if path in found), "a home that nobody needs"


@pytest.mark.parametrize(
    "name", ["_refcount_lock", "_identifier_to_refcount", "_identifier_to_system"]
)
def test_chroma_still_has(name: str) -> None:
    assert hasattr(SharedSystemClient, name)


def test_chroma_still_holds_its_connections_where_they_are_closed() -> None:
    assert AsyncFastAPI._clients == {}, "all clients share one table"
    collection = chromadb.EphemeralClient().get_or_create_collection(
        "kept", embedding_function=None
    )
    assert isinstance(collection, Collection)
    assert collection._model.name == "kept"


def test_dspy_still_hides_a_compiled_part() -> None:
    inner = dspy.Predict("question -> answer")
    outer = dspy.Module()
    outer.inner = dspy.ChainOfThought("question -> answer")
    assert outer.named_predictors()
    dspy_internals.mark_compiled(outer.inner, True)
    assert not outer.named_predictors()
    assert dspy_internals.compiled_parts(outer) == [outer.inner]
    assert dspy_internals.is_openai_reasoner("openai/o3-mini")
    assert not dspy_internals.is_openai_reasoner("openai/gpt-4o")
    assert dspy_internals.response_format_of(inner.signature).model_json_schema()["properties"]


def test_mlflow_still_makes_an_entity_of_a_data_set() -> None:
    data = mlflow.data.from_pandas(pd.DataFrame({"question": ["why?"]}), name="asked")
    assert data_set_entity(data).name == "asked"


def test_mlflow_still_keeps_prompts_among_models(tmp_path: Path) -> None:
    make_database(f"sqlite:///{tmp_path}/mlflow.db")
    registry = prompt_registry(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"))
    assert all(
        hasattr(registry, name)
        for name in ("create_registered_model", "create_model_version", "search_model_versions")
    )


def test_mlflow_still_lists_modules_of_packages_once_and_only_where_they_are_wanted() -> None:
    before = requirements_utils._MODULES_TO_PACKAGES
    with requirements_known():
        assert requirements_utils._check_requirement_satisfied(f"dspy=={dspy.__version__}") is None
        found = requirements_utils._check_requirement_satisfied("dspy==0.0.1")
        assert found.installed_version == dspy.__version__
        assert (before or {}) == requirements_utils._MODULES_TO_PACKAGES
    assert requirements_utils._MODULES_TO_PACKAGES is before
