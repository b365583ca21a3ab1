"""A small real index (Chroma, tantivy, token vectors; hash embedder), models, and every program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dspy
import pytest

from ragwright.programs.build import build_program
from ragwright.programs.lm import build_lm
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.servers.scripted_lm import Script, ScriptedLM

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


PROGRAMS: dict[str, dict[str, Any]] = {
    "rag": {"kind": "rag"},
    "hybrid": {"kind": "hybrid"},
    "rerank": {"kind": "rerank"},
    "hyde": {"kind": "hybrid", "expansion": "hyde"},
    "multi-query": {"kind": "rerank", "expansion": "multi-query"},
    "step-back": {"kind": "hybrid", "expansion": "step-back"},
    "decompose": {"kind": "hybrid", "expansion": "decompose"},
    "cross-encoder": {"kind": "rerank", "reranker": "{model}"},
    "library": {"kind": "rerank", "reranker": "library:{model}"},
    "listwise": {"kind": "rerank", "reranker": "listwise"},
    "pointwise": {"kind": "rerank", "reranker": "pointwise"},
    "multihop": {"kind": "multihop", "reranker": "none"},
    "multihop-maxsim": {"kind": "multihop", "reranker": "maxsim", "hops": 3},
    "abstain": {"kind": "rerank", "abstain": True},
    "conversation": {"kind": "hybrid", "conversation": True},
}
SCRIPT: Script = {
    "queries": '["Paris France capital", "city on the Seine"]',
    "passage": "The capital of France is Paris.",
    "ranking": "[1, 2, 3]",
    "relevance": lambda fields: 0.9 if "Paris" in fields["context"] else 0.1,
    "note": "Paris is in France.",
    "query": "Which river flows through Paris?",
    "enough": "False",
    "confidence": "0.9",
    "standalone": "What is the capital of France?",
}


@pytest.fixture(scope="session")
def index_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of an index over `FACTS`."""
    path = tmp_path_factory.mktemp("programs") / "index"
    documents = [Document(id, text, id.title(), {"topic": id[0]}) for id, text in FACTS.items()]
    ingest(documents, path, IndexSettings(embedder="hash"))
    yield str(path)
    close_index(path)


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real cross-encoder with random weights, as a folder that the real loading code reads.

    The weights are those of a seed, and wide: what it says of passages must lie further apart than
    what one batch and another say of the same passage.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-cross-encoder"
    folder.mkdir()
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] what is the capital of france paris rome a river ? ."
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text(words.replace(" ", "\n"))
    BertTokenizerFast(vocab_file=str(vocabulary), model_max_length=64).save_pretrained(folder)
    config = BertConfig(
        vocab_size=17, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, num_labels=1,
        initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


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
    settings: dict[str, Any] = {"cache": False, "num_retries": 0, "timeout": 60} | options
    return dspy.LM("openai/scripted", api_base=server.url, api_key="test", **settings)


@pytest.fixture(scope="module")
def written() -> Iterator[ScriptedLM]:
    with ScriptedLM(script=SCRIPT) as running:
        yield running


@pytest.fixture(params=PROGRAMS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(name: str, index_path: str, request: pytest.FixtureRequest) -> Recipe:
    section = dict(PROGRAMS[name])
    if "{model}" in section.get("reranker", ""):
        model = request.getfixturevalue("tiny_cross_encoder")
        section["reranker"] = section["reranker"].format(model=model)
    knobs = {"weight_maxsim": 0.5, "weight_cross": 0.1, "weight_lm": 1.0, "k": 4}
    index = {"path": index_path, "embedder": "hash"}
    return Recipe.checked({"index": index, "program": section, "knobs": knobs})


@pytest.fixture
def program(recipe: Recipe, written: ScriptedLM) -> RAG:
    return build_program(recipe, lm=client(written))
