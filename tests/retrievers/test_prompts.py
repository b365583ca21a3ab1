"""What stands before questions and documents that a model embeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.programs.build import index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers import advice
from ragwright.retrievers.cache import CachedEmbedder
from ragwright.retrievers.embedding import (
    EngineSettings,
    HashEmbedder,
    Prompt,
    PromptSettings,
    load_embedder,
    loading,
)
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.embedding.hosted import HostedEmbedder
from ragwright.retrievers.embedding.prompts import UNPROMPTED, PromptedEmbedder, prompts_in
from ragwright.retrievers.errors import IdentityError, InputError
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest, upsert_documents
from ragwright.retrievers.stamp import STAMP, IndexSettings, Stamp
from ragwright.retrievers.types import Document
from ragwright.retrievers.vector_cache import VectorCache
from tests.servers.embeddings import embeddings_server

LEAVE = [Document("leave", "Everybody has 30 days.")]
E5 = PromptSettings(query="query: ", document="passage: ")


class Trained(HashEmbedder):
    """A model whose files name prompts."""

    prompts = E5


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_LOADED", {})
    monkeypatch.setattr(loading, "HashEmbedder", Trained)


def vector(text: str) -> Any:
    return HashEmbedder().encode([text]).vectors[0]


@pytest.mark.parametrize(
    ("config", "query", "document"),
    [
        ({}, "", ""),
        ({"prompts": {}, "default_prompt_name": None}, "", ""),
        ({"prompts": {"query": "Q: "}}, "Q: ", ""),
        ({"prompts": {"query": "q", "passage": "p", "document": "d"}}, "q", "d"),
        ({"prompts": {"all": "x: "}, "default_prompt_name": "all"}, "x: ", "x: "),
        ({"prompts": ["query: "]}, "", ""),
        ({"prompts": {"query": 1}}, "", ""),
    ],
)
def test_prompts_are_those_of_the_models_files(config: Any, query: str, document: str) -> None:
    assert prompts_in(config) == PromptSettings(query=query, document=document)


def test_token_vectors_are_those_of_the_text(trained: None) -> None:
    plain, prompted = HashEmbedder(), PromptedEmbedder(HashEmbedder(), "query: ")
    found = prompted.encode(["leave days", "x"], tokens=True)
    wanted = plain.encode(["leave days", "x"], tokens=True)
    assert [len(rows) for rows in found.tokens or ()] == [len(rows) for rows in wanted.tokens or ()]
    np.testing.assert_allclose(found.vectors[1], vector("query: x"))
    assert prompted.encode([], tokens=True).vectors.shape == (0, 64)


@pytest.mark.parametrize("settings", [IndexSettings(embedder="hash", prompts=E5), None])
def test_questions_and_documents_stand_behind_their_prompts(
    path: Path, trained: None, settings: IndexSettings | None
) -> None:
    ingest(LEAVE, path, settings or IndexSettings(embedder="hash"))
    index = Index(path)
    (id,) = index.dense("days", 1)
    np.testing.assert_allclose(index.vector_of("days"), vector("query: days"), atol=1e-6)
    held = index.vectors([id])[id]
    np.testing.assert_allclose(held, vector("passage: Everybody has 30 days."), atol=1e-6)
    assert str(index.passages([id])[0]) == "Everybody has 30 days."
    index.close()
    assert upsert_documents(LEAVE, path).unchanged == 1


def test_an_index_of_an_older_version_stays_without(path: Path, trained: None) -> None:
    ingest(LEAVE, path, IndexSettings(embedder="hash", prompts=UNPROMPTED))
    stamp = json.loads((path / STAMP).read_text())
    del stamp["prompts"], stamp["settings"]["prompts"]
    (path / STAMP).write_text(json.dumps(stamp))
    manner = Stamp.read(path).manner
    assert ingest(LEAVE, path, IndexSettings(embedder="hash")).unchanged == 1
    assert Stamp.read(path).manner == manner
    assert "prompts" not in manner
    np.testing.assert_allclose(Index(path).vector_of("days"), vector("days"), atol=1e-6)
    model = ModelFiles("e5", "1", path, "mean", 512, E5)
    assert "a question: 'query: '" in advice._unprompted(model, Stamp.read(path))
    assert not advice._unprompted(replace(model, prompts=UNPROMPTED), Stamp.read(path))


def test_other_prompts_make_another_index(path: Path) -> None:
    ingest(LEAVE, path, IndexSettings(embedder="hash", prompts=E5))
    with pytest.raises(IdentityError, match=r'prompts\.query = "query: ", not "search: "'):
        ingest(
            LEAVE, path, IndexSettings(embedder="hash", prompts=PromptSettings(query="search: "))
        )


def test_a_cached_vector_is_that_of_its_prompt(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "vectors.sqlite", limit=1 << 20)
    made = []
    for prompt in (Prompt(), Prompt("query: "), Prompt(type="query")):
        inner = load_embedder("hash", EngineSettings(), Prompt(prompt.text))
        embedder = CachedEmbedder(inner, cache, prompt)
        made.append(embedder.encode(["days"], tokens=True).vectors[0].tolist())
        assert embedder.computed == 1
    assert made[0] == made[2] != made[1]


def test_a_hosted_model_is_told_the_type(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(loading, "_LOADED", {})
    with embeddings_server() as server:
        monkeypatch.setenv("RAGWRIGHT_EMBEDDING_API_BASE", server.address)
        monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
        told = PromptSettings(query_type="search_query", document_type="search_document")
        ingest(LEAVE, path, IndexSettings(embedder="litellm:openai/words", prompts=told))
        assert set(server.types) == {"search_document"}
        Index(path).dense("days", 1)
        assert server.types[-1] == "search_query"
        HostedEmbedder("openai/words").encode(["x"])
        assert server.types[-1] == ""


def test_a_type_is_of_hosted_models_alone() -> None:
    told = PromptSettings(query_type="search_query")
    with pytest.raises(InputError, match="are of models behind an API"):
        IndexSettings(embedder="hash", prompts=told)


def test_a_recipe_names_prompts(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('[index]\nembedder = "hash"\nprompts = {query = "query: "}\n')
    assert index_settings(Recipe.from_toml(file)).prompts == PromptSettings(query="query: ")
