"""How documents are cut."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrievers.chunking.tokens import ENCODING

ChunkKind = Literal["recursive", "levels", "token", "markdown", "code", "semantic"]


class ChunkSettings(BaseModel):
    """How documents are cut; stamped on an index.

    Attributes:
        kind: "recursive" cuts at the coarsest separator that gives pieces of the size and fills
            chunks across paragraphs; "levels" never fills a chunk across a coarser separator than
            those inside it, which is LangChain's rule; "token" cuts every `size` tokens wherever
            that falls; "markdown" keeps sections apart and notes their headings; "code" keeps
            definitions apart; "semantic" cuts where the meaning of sentences changes most, which
            their vectors tell.
        size: Tokens of a chunk, at most.
        overlap: Tokens that a chunk repeats from the one before.
        headers: Whether a chunk is found by its document's title and its headings too: they are
            put before the text that is embedded and searched by keyword, not before the passage.
        encoding: The tiktoken encoding that tokens are counted in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ChunkKind = "recursive"
    size: int = Field(200, ge=8, le=100_000)
    overlap: int = Field(0, ge=0)
    headers: bool = False
    encoding: str = ENCODING

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self
