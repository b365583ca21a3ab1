"""Names and opens a collection of somebody else: where it lies, and what embeds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragwright.retrievers.embedding import MINILM
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.stores.attached import OwnedCollection, open_owned, separate_client_url
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.stores.chroma import collection_names
from ragwright.retrievers.stores.chroma_internals import client_settings
from ragwright.retrievers.trust import is_reference

FORMS = (
    "chroma:PATH#NAME, chroma+http://HOST:PORT#NAME, the same with qdrant, or a chromadb Collection"
)
_SENTENCE_TRANSFORMERS = "sentence-transformers/"
_HOSTED = {"openai": "openai", "cohere": "cohere", "ollama": "ollama", "mistral": "mistral",
           "voyageai": "voyage", "jina": "jina_ai", "together_ai": "together_ai"}  # fmt: skip
"""Chroma's names for embedding functions behind an API, and LiteLLM's for their providers."""


def is_collection(source: object) -> bool:
    """Tell whether something is a collection of a Chroma client, without importing Chroma."""
    kind = type(source)
    return kind.__module__.startswith("chromadb.") and "Collection" in kind.__name__


def collection_url(source: object) -> StoreURL:
    """Return where a collection lies.

    Raises:
        InputError: It is no collection, or one that lies in the memory of a process.
    """
    if is_collection(source):
        return _of_collection(source)
    if not isinstance(source, str):
        raise InputError(
            f"{type(source).__name__} is no collection that can be attached.",
            hint=f"Give {FORMS}; of LangChain's and LlamaIndex's classes the collection in them.",
        )
    place = StoreURL.parse(source).beside(Path.cwd())
    if place.kind not in ("chroma", "qdrant"):
        raise InputError(
            f"A collection of {place.kind!r} cannot be attached yet.", hint=f"Give {FORMS}."
        )
    return place


def _of_collection(source: Any) -> StoreURL:
    settings = client_settings(source)
    if (source.tenant, source.database) != ("default_tenant", "default_database"):
        raise InputError(
            f"The collection {source.name!r} lies in the database {source.database!r} of "
            f"{source.tenant!r}; only Chroma's default database can be attached.",
            hint="Copy it there.",
        )
    if settings.is_persistent:
        place = StoreURL("chroma", settings.persist_directory, False, source.name)
        return place.beside(Path.cwd())
    if not settings.chroma_server_host:
        raise InputError(
            f"The collection {source.name!r} lies in the memory of this process alone.",
            hint="Make it with chromadb.PersistentClient or HttpClient: an index on it is opened "
            "again by its address.",
        )
    scheme = "https" if settings.chroma_server_ssl_enabled else "http"
    host = str(settings.chroma_server_host).rpartition("//")[2]
    address = f"{scheme}://{host}:{settings.chroma_server_http_port}"
    return StoreURL("chroma", address, True, source.name)


def open_collection(place: StoreURL) -> OwnedCollection:
    """Open a collection for reading.

    Raises:
        IndexFault: There is none; it names those that are there.
    """
    if place.kind == "qdrant":
        return open_owned(place)
    if not place.remote and not (Path(place.address) / "chroma.sqlite3").is_file():
        raise IndexFault(
            f"There is no Chroma in the folder {place.address!r}.",
            hint="Give the folder that its chroma.sqlite3 lies in.",
        )
    names = collection_names(separate_client_url(place))
    if place.collection not in names:
        raise IndexFault(
            f"There is no collection {place.collection!r} in {place.address!r}; there "
            f"{'is' if len(names) == 1 else 'are'} {', '.join(map(repr, names)) or 'none'}.",
            hint="Name one with #NAME behind the URL.",
        )
    return open_owned(place)


def embedder_named_by(function: Mapping[str, Any], place: StoreURL) -> str:
    """Return the embedder that a collection's configuration names.

    Only names are taken from it: no address, no code.

    Raises:
        InputError: It names none, or one that has to be written out.
    """
    name, config = str(function.get("name", "")), function.get("config")
    model = str(config.get("model_name") or "") if isinstance(config, Mapping) else ""
    match name:
        case "default" | "onnx_mini_lm_l6_v2":
            return MINILM
        case "sentence_transformer" if model and not is_reference(model):
            return model if "/" in model or os.sep in model else _SENTENCE_TRANSFORMERS + model
        case _ if name in _HOSTED and model:
            return f"litellm:{_HOSTED[name]}/{model}"
    said = f"names the embedding function {name!r}" if name else "names no embedding function"
    raise InputError(
        f"The configuration of the collection {str(place)!r} {said}.",
        hint="Name it: embedder=..., or --embedder; a sentence-transformers model, "
        "litellm:PROVIDER/MODEL or module:Class.",
    )
