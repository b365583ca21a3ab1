"""How the collection of somebody else is read: a note on the index that searches it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Attachment(BaseModel):
    """How the collection of somebody else is read; part of an index's stamp.

    Attributes:
        document: The metadata key that names a row's document; empty for what is usual.
        norm: The mean length of its vectors.
        tokens: Whether token vectors are made beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: str = ""
    norm: float = 1.0
    tokens: bool = True
