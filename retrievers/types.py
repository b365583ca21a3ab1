"""The nouns of retrieval: Document, Chunk, Passage.

Comes in: nothing. Goes out: the value types that every other module speaks in. Knows neither how
texts are cut, nor where they are stored, nor how they are scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from ragwright.retrievers import html

Scalar = str | int | float | bool
Value = Scalar | Sequence[Scalar]
"""What metadata holds: one value, or a list of values of one kind."""
Metadata = Mapping[str, Any]
"""Keys with a `Value` each; `metadata.py` sees to that."""

Where = Mapping[str, Any]
"""A filter on metadata in Chroma's language, such as `{"year": {"$gte": 2020}}`."""

EMPTY: Metadata = MappingProxyType({})

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


def content_hash(*parts: str) -> str:
    """Return 32 hex characters that depend on every part and on where each part ends."""
    return hash_parts(parts)


def hash_parts(parts: Iterable[str]) -> str:
    """Return the `content_hash` of a stream of parts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def _pairs(metadata: Metadata) -> list[str]:
    return [f"{key}={value!r}" for key, value in sorted(metadata.items())]


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a document's text from a character on, up to the next place.

    Attributes:
        start: The first character, counted from 0.
        metadata: A page, a sheet; it joins the document's metadata in a chunk that starts there.
    """

    start: int
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Document:
    """One text as its source holds it.

    Attributes:
        id: Unique in a collection and stable over time (a path, a row id, a title).
        text: The whole text. Offsets elsewhere count its characters (code points).
        title: A short name for people; may be empty.
        metadata: Values, and lists of them, that travel to every passage of the document.
        places: From which character on something holds, in order: a page of a PDF, say.
    """

    id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=lambda: EMPTY)
    places: tuple[Place, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A hash of everything that, when it changes, makes the document new to an index."""
        places = [f"{place.start}:{_pairs(place.metadata)}" for place in self.places]
        return content_hash(self.id, self.title, self.text, *_pairs(self.metadata), *places)


TABLE_HEADER = "table_header"
"""The metadata of a chunk that starts among the rows of a table: the names of its columns."""


def text_with_columns(text: str, metadata: Metadata) -> str:
    """Return a text under the names of the columns, if it starts among the rows of a table."""
    columns = metadata.get(TABLE_HEADER)
    return f"{columns}\n{text}" if isinstance(columns, str) and columns else str(text)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: `document.text[start:end] == text`, always.

    Attributes:
        document_id: The document it was cut from.
        start: First character, counted from 0.
        end: One past the last character.
        text: The characters between.
        metadata: The document's metadata and title, plus what the chunker adds (a heading path,
            say).
    """

    document_id: str
    start: int
    end: int
    text: str
    metadata: Metadata = field(default_factory=lambda: EMPTY)

    @property
    def id(self) -> str:
        """Deterministic: the same piece of the same document has the same id in every run."""
        place = (self.document_id, str(self.start), str(self.end))
        return content_hash(*place, self.text, *_pairs(self.metadata))

    @property
    def shown(self) -> str:
        """The text; rows of a table stand under their columns' names."""
        return text_with_columns(self.text, self.metadata)

    @property
    def facts(self) -> dict[str, Value]:
        """The metadata together with the place, as stores and passages carry it."""
        facts: dict[str, Value] = dict(self.metadata)
        facts.update(document=self.document_id, start=self.start, end=self.end)
        return facts


class Passage(str):
    """A retrieved chunk: a `str` that also knows where it comes from and how it scored.

    Being a `str`, it goes through DSPy's prompt formatting untouched; `long_text` is what
    `dspy.Retrieve` reads from each item of what `dspy.settings.rm` returns.

    Attributes:
        id: The chunk's id.
        score: The score that the list it stands in is ordered by; higher is better.
        metadata: The chunk's metadata, with `document`, `start` and `end`.
        signals: The score by each source that saw it: "dense", "bm25", that of a reranker.
    """

    id: str
    score: float
    metadata: Metadata
    signals: Mapping[str, float]

    def __new__(
        cls,
        text: str,
        *,
        id: str = "",
        score: float = 0.0,
        metadata: Metadata = EMPTY,
        signals: Mapping[str, float] = EMPTY,
    ) -> Self:
        self = super().__new__(cls, text)
        self.id = id
        self.score = score
        self.metadata = metadata
        self.signals = signals
        return self

    @property
    def long_text(self) -> Self:
        """The passage itself; the name that `dspy.Retrieve` asks for."""
        return self

    @property
    def document(self) -> str:
        """The id of the document it was cut from; empty if it does not say."""
        return str(self.metadata.get("document", ""))

    @property
    def shown(self) -> str:
        """What a language model reads of it: rows of a table stand under their columns' names."""
        return text_with_columns(self, self.metadata)

    def scored(self, score: float, **signals: float) -> Passage:
        """Return a copy with another score and with these signals added."""
        return Passage(
            str(self),
            id=self.id,
            score=score,
            metadata=self.metadata,
            signals={**self.signals, **signals},
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the text with its document and scores."""
        return html.html_table(PASSAGE_HEAD, [passage_row(self)])

    def __reduce__(self) -> tuple[Any, ...]:
        state = (str(self), self.id, self.score, dict(self.metadata), dict(self.signals))
        return _restore_passage, state


PASSAGE_HEAD = ("document", "score", "passage", "signals")


def passage_row(passage: Passage) -> tuple[object, ...]:
    signals = ", ".join(f"{name} {value:.3f}" for name, value in passage.signals.items())
    return passage.document, float(passage.score), str(passage), signals


def _restore_passage(
    text: str, id: str, score: float, metadata: Metadata, signals: Mapping[str, float]
) -> Passage:
    return Passage(text, id=id, score=score, metadata=metadata, signals=signals)


_PLACES = ("page", "slide", "sheet", "moment")


def describe_place(metadata: Metadata) -> str:
    """Return where in its document a passage starts, as people say it; "" where nothing is known.

    >>> describe_place({"page": 3})
    'page 3'
    """
    return ", ".join(f"{name} {metadata[name]}" for name in _PLACES if name in metadata)
