"""The public surface is a tested fact: what each package exports, no more and no less."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

PUBLIC: dict[str, set[str]] = {
    "ragwright.retrievers": {
        "ChromaRetriever",
        "Chunk",
        "ChunkSettings",
        "Document",
        "Index",
        "IndexSettings",
        "KeywordRetriever",
        "Passage",
        "RagError",
        "RetrievalResult",
        "open_index",
        "ray_cluster",
        "read_documents",
    },
    "ragwright.programs": {
        "Candidates",
        "CrossEncoder",
        "ExpandedRetriever",
        "Expansion",
        "FallbackSettings",
        "HybridRAG",
        "HybridRetriever",
        "KnobValues",
        "Knobs",
        "LibraryReranker",
        "ListwiseReranker",
        "MaxSim",
        "MultiHopRAG",
        "MultiHopRetriever",
        "Number",
        "PointwiseReranker",
        "RAG",
        "RAGOptions",
        "Recipe",
        "ReplyAdapter",
        "RerankRAG",
        "RerankRetriever",
        "Reranker",
        "SearchSource",
        "Signal",
        "build_lm",
        "build_program",
        "build_recipe_lm",
        "degradations",
        "expose_knobs",
        "gather",
        "protect",
        "reading",
        "protect_program",
        "select",
        "stream",
    },
    "ragwright.optimize": {
        "Caps",
        "CompileResult",
        "Evaluation",
        "JointOptimizer",
        "Metric",
        "Question",
        "Run",
        "TrainingSet",
        "build_metric",
        "compile_program",
        "estimate_compile",
        "evaluate",
        "read_questions",
        "split",
        "track",
        "write_report",
    },
    "ragwright.artifacts": {
        "Artifact",
        "Comparison",
        "GoldenAnswer",
        "GoldenQuestion",
        "Interval",
        "Manifest",
        "Provenance",
        "load",
        "log_artifact",
        "open_artifact",
        "promote",
        "publish_model",
        "pull_model",
        "read_artifact",
        "roll_back",
        "save",
    },
}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_exports_what_is_listed(package: str) -> None:
    exported = importlib.import_module(package).__all__
    assert set(exported) == PUBLIC[package]
    assert len(exported) == len(set(exported))


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package, names in PUBLIC.items() for name in sorted(names)],
)
def test_an_exported_name_is_there(package: str, name: str) -> None:
    assert getattr(importlib.import_module(package), name) is not None


def test_the_release_is_the_latest_of_the_changelog() -> None:
    root = Path(__file__).parents[1]
    release = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    (latest, *_) = re.findall(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), flags=re.M)
    assert release == latest
