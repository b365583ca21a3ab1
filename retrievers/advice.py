"""Tells what the user of an index should know: what is cut, not understood, or out of date.

Looks at a sample of the chunks; changes nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ragwright.retrievers.chunking import text_to_search
from ragwright.retrievers.embedding.files import ModelFiles, find_model, load_tokenizer, read_table
from ragwright.retrievers.embedding.hosted import is_hosted
from ragwright.retrievers.embedding.prompts import UNPROMPTED, PromptSettings
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.filters import WITHIN, Condition, Filter, conditions_of, value_kind
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.metadata import TIME, iso_date_seconds
from ragwright.retrievers.protected import readable_folder
from ragwright.retrievers.stamp import STAMP, Stamp
from ragwright.retrievers.text import language_of
from ragwright.retrievers.types import Chunk

SAMPLE = 500
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
MOST_KEYS = 30
LEAST_FOREIGN = 0.1
LEAST_CUT = 0.02
"""The share of a text that may lie beyond what the embedder reads without a word about it."""
MOST_WORD_PIECES = 100_000
"""A vocabulary of one language has 30,000 to 60,000 word pieces, a multilingual one 120,000 on."""

_OTHER_LANGUAGE = re.compile(
    r"multilingual|labse|xlm|[-_](?:m3|de|fr|es|zh|ja|ko|ru|ar|it)\b", re.I
)


def index_advice(folder: Path) -> tuple[str, ...]:
    """Return what to know of the index in a folder; nothing if there is none.

    Raises:
        IndexFault: It is damaged.
    """
    if not (folder / STAMP).exists():
        return ()
    with closing(Ledger(readable_folder(folder) / "ledger.sqlite")) as ledger:
        return ledger_advice(Stamp.read(folder), ledger)


def ledger_advice(stamp: Stamp, ledger: Ledger) -> tuple[str, ...]:
    """Return what to know of an index whose ledger is open."""
    chunks = ledger.sample(SAMPLE)
    found = [_without_titles(stamp, chunks)]
    model = _model_of(stamp.settings.embedder)
    if model is not None and chunks:
        texts = [text_to_search(piece, stamp.settings.chunking) for piece in chunks]
        found += [_cut(model, texts, stamp), _not_understood(model, chunks)]
        found.append(_unprompted(model, stamp))
    return tuple(note for note in found if note)


def filter_advice(folder: Path, where: Filter) -> tuple[str, ...]:
    """Say of each condition of a filter why it may let nothing pass, by what a sample is known by.

    Raises:
        IndexFault: There is no index in the folder, or it is damaged.
    """
    with closing(Ledger(readable_folder(folder) / "ledger.sqlite")) as ledger:
        chunks = ledger.sample(SAMPLE)
    held: dict[str, Any] = {key: one for chunk in chunks for key, one in chunk.metadata.items()}
    held |= {"document": "", "start": 0, "end": 0}
    return tuple(filter(None, (_misfit(one, held) for one in conditions_of(where))))


def _misfit(asked: Condition, held: Mapping[str, Any]) -> str:
    key, value = asked.key.removesuffix(TIME), json.dumps(asked.value, ensure_ascii=False)
    if key not in held:
        keys = ", ".join(sorted(held)[:MOST_KEYS])
        return f"no passage that was looked at has {key!r}, but {keys}."
    there = held[key]
    if isinstance(there, list | tuple) and asked.operator not in WITHIN:
        return f'{key!r} is a list, to be looked into: {{"{key}": {{"$contains": {value}}}}}.'
    if key != asked.key:
        dated = isinstance(there, str) and iso_date_seconds(there) is not None
        return "" if dated else f"{key!r} is such as {there!r}, which is no date."
    kind = "list" if isinstance(there, list | tuple) else value_kind(there)
    if kind not in {"list", asked.kind}:
        return f"{key!r} is a {kind} such as {there!r}, and {value} is a {asked.kind}."
    return ""


def _cut(model: ModelFiles, texts: Sequence[str], stamp: Stamp) -> str:
    """Say which share of the text lies beyond what the embedder reads."""
    tokenizer = load_tokenizer(model.folder)
    lengths = [len(read.ids) for read in tokenizer.encode_batch(list(texts))]
    over = [length - model.max_tokens for length in lengths if length > model.max_tokens]
    if sum(over) < LEAST_CUT * sum(lengths):
        return ""
    return (
        f"{_share(len(over), len(lengths))} of the chunks are longer than the {model.max_tokens} "
        f"tokens that the embedder reads: {_share(sum(over), sum(lengths))} of the text is in no "
        f"vector, and found by its words alone. chunking.size is {stamp.settings.chunking.size}: "
        "take a smaller one, with chunking.parent_size for large passages."
    )


def _not_understood(model: ModelFiles, chunks: Sequence[Chunk]) -> str:
    """Say so if an embedder for English is to read much that is not English."""
    if _OTHER_LANGUAGE.search(model.name) or _vocabulary(model) > MOST_WORD_PIECES:
        return ""
    spoken = Counter(language_of(piece.text) for piece in chunks)
    foreign = [(name, count) for name, count in spoken.most_common() if name not in ("", "english")]
    known = sum(spoken.values()) - spoken[""]
    if not known or sum(count for _, count in foreign) < LEAST_FOREIGN * known:
        return ""
    # Of a few passages, it is a guess: games of chess are no Hungarian.
    spoken_of = [one for one in foreign[:3] if one[1] >= LEAST_FOREIGN * known] or foreign[:1]
    named = ", ".join(f"{name.capitalize()} ({_share(n, known)})" for name, n in spoken_of)
    return (
        f"The embedder {model.name!r} reads English, the documents are in other languages: {named}."
        f" Take a multilingual one, such as embedder = {MULTILINGUAL!r}, or search by keyword."
    )


def _unprompted(model: ModelFiles, stamp: Stamp) -> str:
    """Say so if the model names words before texts, and the index is of a version without them."""
    open_to_it = stamp.settings.prompts == PromptSettings() and stamp.attached is None
    if not open_to_it or stamp.prompts != UNPROMPTED or model.prompts == UNPROMPTED:
        return ""
    return (
        f"The embedder {model.name!r} was trained with words before a text (a question: "
        f"{model.prompts.query!r}, a document: {model.prompts.document!r}), and this index is of "
        "an older version, which put none there. Ingest into a new folder to have them."
    )


def _without_titles(stamp: Stamp, chunks: Sequence[Chunk]) -> str:
    titled = any(piece.metadata.get("title") or piece.metadata.get("headings") for piece in chunks)
    if stamp.settings.chunking.headers or not titled:
        return ""
    return (
        "Titles and headings are not searched in this index (chunking.headers = false, the default "
        "of older versions). Ingesting into a new folder with headers = true embeds and searches "
        "them; passages stay as they are."
    )


def _model_of(name: str) -> ModelFiles | None:
    """Return the files of a local transformer; of other embedders nothing is known."""
    if name.partition(":")[0] == "hash" or is_hosted(name):
        return None
    try:
        model = find_model(name)
    except ModelError:
        return None
    needed = (model.folder / name for name in ("tokenizer.json", "config.json"))
    return model if all(file.is_file() for file in needed) else None


def _vocabulary(model: ModelFiles) -> int:
    size = read_table(model.folder / "config.json").get("vocab_size")
    return size if isinstance(size, int) else 0


def _share(part: int, whole: int) -> str:
    return f"{max(1, round(100 * part / whole))} %"
