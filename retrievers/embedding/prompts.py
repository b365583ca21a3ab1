"""What a model is told about a text: whether it is a question or a document.

Models for retrieval are trained with a few words before the one, the other or both ("query: " and
"passage: ", say), or, behind an API, with a type beside the text. Without them they find less, and
no error says so. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ragwright.retrievers.embedding.base import Embedder, EncodedTexts, WrappedEmbedder
from ragwright.retrievers.settings import Settings

Role = Literal["query", "document"]
_Told = Annotated[str, Field(max_length=2000)]
_NAMES: dict[Role, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}
"""What models call their prompts, as sentence-transformers looks for them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said of one kind of text.

    Attributes:
        text: Put before it.
        type: Sent beside it, to a model behind an API: its `input_type`.
    """

    text: str = ""
    type: str = ""


NO_PROMPT = Prompt()


class PromptSettings(Settings):
    """What a model is told about questions, and about documents.

    Attributes:
        query: Put before a question; None for what the model's own files say.
        document: Put before a document's text; None likewise.
        query_type: What a model behind an API is told a question is: its `input_type`.
        document_type: And what a document's text is.
    """

    query: _Told | None = None
    document: _Told | None = None
    query_type: _Told = ""
    document_type: _Told = ""

    def of(self, role: Role) -> Prompt:
        """Return what is said of one kind of text."""
        if role == "query":
            return Prompt(self.query or "", self.query_type)
        return Prompt(self.document or "", self.document_type)

    def filled(self, other: PromptSettings) -> Self:
        """Return these settings, with another's texts where they leave them open."""
        texts = {"query": other.query, "document": other.document}
        return self.model_copy(
            update={name: text for name, text in texts.items() if getattr(self, name) is None}
        )


UNPROMPTED = PromptSettings(query="", document="")


def prompts_in(config: Mapping[str, Any]) -> PromptSettings:
    """Return the prompts that a sentence-transformers model names, as its files have them.

    >>> prompts_in({"prompts": {"query": "query: ", "passage": "passage: "}}).document
    'passage: '
    """
    named = config.get("prompts")
    if not isinstance(named, Mapping):
        return UNPROMPTED
    default = named.get(config.get("default_prompt_name"))
    found: dict[str, str] = {}
    for role, names in _NAMES.items():
        told = [*(named.get(name) for name in names), default]
        found[role] = next((one for one in told if isinstance(one, str)), "")
    return PromptSettings(**found)


class PromptedEmbedder(WrappedEmbedder):
    """An embedder that puts words before every text. Its token vectors are those of the text alone.

    Args:
        embedder: What computes.
        words: What stands before.
    """

    def __init__(self, embedder: Embedder, words: str) -> None:
        super().__init__(embedder)
        self._words = words

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        """Embed texts, in order, each behind the words."""
        encoded = self._embedder.encode([self._words + text for text in texts], tokens=tokens)
        if encoded.tokens is None or not texts:
            return encoded
        return EncodedTexts(encoded.vectors, [rows[self._own_tokens :] for rows in encoded.tokens])

    @cached_property
    def _own_tokens(self) -> int:
        """How many token vectors are of the words: white space at their end has none, mostly."""
        alone = self._embedder.encode([self._words.rstrip()], tokens=True).tokens
        return len(alone[0]) if alone is not None else 0
