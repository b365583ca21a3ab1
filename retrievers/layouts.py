"""Reads a row of somebody else's collection: its document, place, text and metadata.

LangChain writes a chunk's text as the row's document, and `source` and `start_index` into its
metadata. LlamaIndex adds the whole node as JSON (`_node_content`), under whose template the text
was embedded. Plain rows are documents of their own. Knows no store and no index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import clean_text, normalize_metadata
from ragwright.retrievers.types import Value, content_hash

NODE = "_node_content"
_OF_A_NODE = frozenset({NODE, "_node_type", "document_id", "doc_id", "ref_doc_id"})
_DOCUMENT = ("ref_doc_id", "document_id", "doc_id", "document", "source")
"""Keys that name the document a row was cut from, the most telling first."""
_START = ("start_index", "start")
_TEXT = ("page_content", "text", "content")
"""Where a text stands that is not the row's document."""


@dataclass(frozen=True, slots=True)
class OwnedRow:
    """What a row of a collection says.

    Attributes:
        id: What its owner calls it.
        text: What is searched and shown.
        document: The document that it was cut from; its own id if it does not say.
        start: At which character of the document it starts; None if it does not say.
        metadata: What can be filtered by.
        embedded: The texts of which one was embedded, the likeliest first.
        dropped: Keys that cannot be kept.
    """

    id: str
    text: str
    document: str
    start: int | None
    metadata: Mapping[str, Value]
    embedded: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of everything that, when it changes, makes the row new to an index."""
        pairs = (f"{key}={value!r}" for key, value in sorted(self.metadata.items()))
        return content_hash(self.document, str(self.start), self.text, *pairs)


def read_owned_row(
    id: str, text: str, metadata: Mapping[str, Any], *, document: str = ""
) -> OwnedRow | None:
    """Read one row, whatever wrote it.

    Args:
        id: What its owner calls it.
        text: Its document; may be empty.
        metadata: Its metadata, as they stand.
        document: The key that names its document; empty for what is usual.

    Returns:
        The row; None if it holds no text.
    """
    node = _node(metadata)
    said = clean_text(text or _elsewhere(metadata, node))
    if not said.strip():
        return None
    own = {k: v for k, v in metadata.items() if not (node and k in _OF_A_NODE)}
    kept, dropped = _kept(own)
    return OwnedRow(
        id=id,
        text=said,
        document=_document(metadata, document) or clean_text(id) or "-",
        start=_start(metadata, node),
        metadata=kept,
        embedded=tuple(dict.fromkeys((said, *_templated(said, node)))),
        dropped=dropped,
    )


def _node(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return LlamaIndex's node; {} if there is none that can be read."""
    try:
        node = json.loads(metadata.get(NODE, ""))
    except (ValueError, TypeError, RecursionError):
        return {}
    return node if isinstance(node, dict) else {}


def _elsewhere(metadata: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    found = (node.get("text"), *(metadata.get(key) for key in _TEXT))
    return next((one for one in found if isinstance(one, str) and one), "")


def _document(metadata: Mapping[str, Any], key: str) -> str:
    for name in (key,) if key else _DOCUMENT:
        value = metadata.get(name)
        # LlamaIndex writes the word where a node has no document.
        if isinstance(value, str | int) and str(value) not in {"", "None"}:
            return clean_text(str(value))
    return ""


def _start(metadata: Mapping[str, Any], node: Mapping[str, Any]) -> int | None:
    for value in (node.get("start_char_idx"), *(metadata.get(key) for key in _START)):
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48:
            return value
    return None


def _kept(metadata: Mapping[str, Any]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return what an index can keep of the metadata, and the keys of the rest."""
    kept: dict[str, Value] = {}
    dropped = []
    for key, value in metadata.items():
        try:
            kept |= normalize_metadata({key: value}, "A row", nested="flatten")
        except InputError:
            dropped.append(str(key))
    return kept, tuple(dropped)


def _templated(text: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what LlamaIndex embeds: the metadata, by the node's templates, and the text."""
    values = node.get("metadata")
    if not isinstance(values, Mapping):
        return
    excluded = node.get("excluded_embed_metadata_keys") or ()
    line, joint, whole = (
        str(node.get(name) or usual)
        for name, usual in (
            ("metadata_template", "{key}: {value}"),
            ("metadata_separator", "\n"),
            ("text_template", "{metadata_str}\n\n{content}"),
        )
    )
    lines = [_filled(line, key=k, value=v) for k, v in values.items() if k not in excluded]
    if lines:
        yield clean_text(_filled(whole, metadata_str=joint.join(lines), content=text)).strip()


def _filled(template: str, **values: object) -> str:
    """Fill a template by plain replacement: what a collection says is never a format of ours."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template
