"""A rule of cutting that is not ours: what it has to be, and the spans it gives, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ragwright.retrievers.chunking.cutting import Span
from ragwright.retrievers.chunking.settings import ChunkSettings
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.trust import require_subclass, resolve_reference


class Chunker:
    """The base of a rule of your own: a recipe names it as `kind = "module:Class"`."""

    def spans(self, text: str, settings: ChunkSettings) -> Iterable[Span]:
        """Return where each chunk starts and ends in a text, in order; chunks may overlap.

        Args:
            text: A document's, or a parent's.
            settings: The sizes that the recipe asks for; `kind` is this class.
        """
        raise NotImplementedError


def cut_by_custom_chunker(text: str, settings: ChunkSettings) -> Iterator[Span]:
    """Cut a text by a rule from outside.

    Raises:
        InputError: Its module was not imported, it is no `Chunker`, or a span is none.
    """
    rule: Chunker = require_subclass(resolve_reference(settings.kind), Chunker, settings.kind)()
    last = 0
    for start, end in rule.spans(text, settings):
        if not last <= start < end <= len(text):
            raise InputError(
                f"The chunker {settings.kind!r} cut a text of {len(text)} characters at "
                f"{(start, end)!r}.",
                hint="Spans lie in the text, are not empty, and start in ascending order.",
            )
        last = start
        yield start, end
