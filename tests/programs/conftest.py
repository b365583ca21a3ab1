"""A small real index (Chroma, tantivy, token vectors; hash embedder) and the offline model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dspy
import pytest

from programs.lm import build_lm
from retrievers.index import IndexSettings, close_index
from retrievers.ingest import ingest
from retrievers.types import Document
from tests.servers.scripted_lm import ScriptedLM

FACTS = {
    "paris": "Paris is the capital of France. The Seine flows through the city of Paris.",
    "rome": "Rome is the capital of Italy. The Tiber flows through Rome.",
    "oslo": "Oslo is the capital of Norway. It lies at the end of a fjord.",
    "seine": "The Seine is a river. It is 777 kilometres long and ends in the English Channel.",
    "tiber": "The Tiber is a river in Italy. It is 405 kilometres long.",
    "python": "Python was written by Guido van Rossum. A list is mutable, a tuple is not.",
    "rust": "Rust was written by Graydon Hoare. A borrow checker guards its memory.",
    "tea": "Tea is made from leaves. Green tea is steeped at 80 degrees.",
    "coffee": "Coffee is made from beans. Espresso is brewed at nine bars.",
    "bread": "Bread is made from flour, water and salt. It rises with yeast.",
    "moon": "The Moon orbits the Earth in 27 days. It has no air.",
    "mars": "Mars has two moons, Phobos and Deimos. A day there has 24 hours and 37 minutes.",
}


@pytest.fixture(scope="session")
def index_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of an index over `FACTS`."""
    path = tmp_path_factory.mktemp("programs") / "index"
    documents = [Document(id, text, id.title(), {"topic": id[0]}) for id, text in FACTS.items()]
    ingest(documents, path, IndexSettings(embedder="hash"))
    yield str(path)
    close_index(path)


@pytest.fixture
def extractive() -> dspy.LM:
    """The offline model, comparing sentences by hashed words."""
    return build_lm("extractive", embedder="hash")


@pytest.fixture
def server() -> Iterator[ScriptedLM]:
    """A scripted language model over HTTP."""
    with ScriptedLM() as running:
        yield running


@pytest.fixture
def scripted(server: ScriptedLM) -> dspy.LM:
    """A client of the scripted language model."""
    return client(server)


def client(server: ScriptedLM, **options: Any) -> dspy.LM:
    settings: dict[str, Any] = {"cache": False, "num_retries": 0, "timeout": 20} | options
    return dspy.LM("openai/scripted", api_base=server.url, api_key="test", **settings)
