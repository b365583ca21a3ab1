"""How documents are cut."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from ragwright.retrievers.chunking.tokens import ENCODING
from ragwright.retrievers.settings import Settings
from ragwright.retrievers.trust import is_reference

ChunkKind = Literal["recursive", "levels", "token", "markdown", "code", "semantic"]


class ChunkSettings(Settings):
    """How documents are cut; stamped on an index.

    Attributes:
        kind: "recursive" cuts at the coarsest separator that gives pieces of the size and fills
            chunks across paragraphs; "levels" never fills a chunk across a coarser separator than
            those inside it, which is LangChain's rule; "token" cuts every `size` tokens wherever
            that falls; "markdown" keeps sections apart and notes their headings; "code" keeps
            definitions apart; "semantic" cuts where the meaning of sentences changes most, which
            their vectors tell; `module:Class` is a `Chunker` of your own.
        size: Tokens of a chunk, at most.
        parent_size: Tokens of a chunk's parent, at most; 0 for none. Parents are cut by the rule
            of `kind`, chunks inside their parent. Chunks are searched, parents are returned.
        overlap: Tokens that a chunk repeats from the one before.
        headers: Whether a chunk is found by its document's title and its headings too: they are
            put before the text that is embedded and searched by keyword, not before the passage.
        encoding: The tiktoken encoding that tokens are counted in.
    """

    kind: str = "recursive"
    size: int = Field(default=200, ge=8, le=100_000)
    parent_size: int = Field(default=0, ge=0, le=100_000)
    overlap: int = Field(default=0, ge=0)
    headers: bool = True
    encoding: str = ENCODING

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in get_args(ChunkKind) and not is_reference(kind):
            listed = ", ".join(map(repr, get_args(ChunkKind)))
            raise ValueError(f"Input should be {listed} or module:Class")
        return kind

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        if 0 < self.parent_size <= self.size:
            raise ValueError(
                f"parent_size {self.parent_size} must be larger than size {self.size}, "
                "or 0 to return the chunks themselves"
            )
        return self

    @property
    def of_parents(self) -> Self:
        """How parents are cut: without overlap, so that a chunk lies in one of them."""
        return self.model_copy(update={"size": self.parent_size, "parent_size": 0, "overlap": 0})
