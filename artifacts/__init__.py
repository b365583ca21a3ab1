"""A compiled program on disk, and the doors to it.

`load("artifacts/compiled/NAME")(question="...").answer` is all that an application needs. What is
exported here is imported when it is first used, so that the `rag` command starts without DSPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import lazy_exports

if TYPE_CHECKING:
    from ragwright.artifacts.golden import GoldenAnswer, GoldenQuestion
    from ragwright.artifacts.manifest import Comparison, Interval, Manifest, Provenance
    from ragwright.artifacts.promotion import promote, roll_back
    from ragwright.artifacts.publishing import publish_model, pull_model
    from ragwright.artifacts.registry import log_artifact
    from ragwright.artifacts.store import Artifact, load, open_artifact, read_artifact, save

__all__ = [
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
]

_HOMES = {
    "Artifact": "store",
    "Comparison": "manifest",
    "GoldenAnswer": "golden",
    "GoldenQuestion": "golden",
    "Interval": "manifest",
    "Manifest": "manifest",
    "Provenance": "manifest",
    "load": "store",
    "log_artifact": "registry",
    "open_artifact": "store",
    "promote": "promotion",
    "publish_model": "publishing",
    "pull_model": "publishing",
    "read_artifact": "store",
    "roll_back": "promotion",
    "save": "store",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
