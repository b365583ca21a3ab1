"""The BM25 index, a thin layer over tantivy.

What a text's terms are is decided in `text.analysis`; tantivy sees terms alone. Scores are Lucene's
BM25 (k1 = 1.2, b = 0.75) times the weight of the query's terms. A note in the folder says by which
analysis the index was made. It stores no texts and knows nothing of vectors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import tantivy

from ragwright.retrievers.bounded_read import read_bounded
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.keyword_damage import (
    damaged_keyword_index,
    translate_keyword_errors,
    translates_read_errors,
)
from ragwright.retrievers.keyword_filter import FIELD, metadata_terms, tantivy_filter
from ragwright.retrievers.own_vectors import Keys, id_as_number, is_chunk_id
from ragwright.retrievers.panics import RustPanic, translate_panics
from ragwright.retrievers.text import ANALYSIS_VERSION, LANGUAGES, Analysis, detect_languages
from ragwright.retrievers.types import Metadata

AUTO = "auto"
_NONE = "none"
_ANALYSIS = "analysis.json"
_ANALYZER = "ragwright"
KEY, REST = "key", "rest"
"""The first 64 bits of an id, which find it in an array, and the others; an id that is not 32
hexadecimal digits has no rest, and is read from what the index stores, which takes longer."""
LARGE = 100_000
"""Chunks from which on a keyword search takes longer than one in the graph of vectors."""
_WRITER_BYTES = 50_000_000
_SAMPLE = 500
_PAGE = 10_000

KeywordRow = tuple[str, str, Metadata]
"""A chunk's id, the text that it is searched by, and its metadata."""


class KeywordIndex:
    """The keyword index in a folder.

    Args:
        folder: Where tantivy keeps its files.
        create: Make the folder if it is missing.
        language: What words are stemmed in: a language, "none", or "auto" for what the first texts
            that are written show.

    Raises:
        IndexFault: The folder holds no index.
        DamagedStore: It cannot be read.
    """

    def __init__(self, folder: Path, *, create: bool = False, language: str = AUTO) -> None:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not (folder.is_dir() and tantivy.Index.exists(str(folder))):
            raise IndexFault(f"The keyword index {str(folder)!r} is missing.", hint="Ingest again.")
        self._folder = folder
        self._language = language
        self._writer: Any = None
        self._open(create=create)

    @property
    def outdated(self) -> bool:
        """Whether it was made by another version of the analysis, or for another language."""
        return self._note is not None and (
            self._note.get("version") != ANALYSIS_VERSION
            or self._note.get("language") != self._language
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """What its words are stemmed in, one language a script at most."""
        return self._analysis.languages

    def write(self, added: Iterable[KeywordRow], deleted: Iterable[str] = ()) -> None:
        """Add (id, text, metadata), replacing those that exist, delete ids, and commit.

        Raises:
            IndexFault: It cannot be written, because the disk is full for example.
        """
        try:
            with translate_panics():
                self._write(added, deleted)
        except (ValueError, OSError, RustPanic) as error:
            self._writer = None
            raise IndexFault(
                f"The keyword index {str(self._folder)!r} cannot be written: {error}.",
                hint="Make room on the disk; the ingest goes on where it stopped.",
            ) from error

    def rebuild(self, rows: Iterable[Sequence[KeywordRow]]) -> None:
        """Make it anew, by the analysis of today, from all rows that it is to hold, page by page.

        Until it is done the old one stays in place.

        Raises:
            IndexFault: It cannot be written.
        """
        self.close()
        beside = self._folder.with_name(f"{self._folder.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        made = KeywordIndex(beside, create=True, language=self._language)
        for page in rows:
            made.write(page)
        made.write(())
        made.close()
        try:
            shutil.rmtree(self._folder)
            beside.replace(self._folder)
        except OSError as error:
            raise IndexFault(
                f"The keyword index {str(self._folder)!r} cannot be replaced: {error.strerror}.",
                hint="Make sure that nothing else writes there, and ingest again.",
            ) from error
        self._open()

    @property
    @translates_read_errors
    def count(self) -> int:
        """How many chunks it holds."""
        return int(self._index.searcher().num_docs)

    @translates_read_errors
    def reload(self) -> None:
        """See what was committed since the index was opened."""
        if self._read_note() != self._note:
            self._open()
        self._index.reload()

    @translates_read_errors
    def query(self, text: str, n: int, where: Filter | None = None) -> dict[str, float]:
        """Return up to n ids with their BM25 scores, best first; only those sharing a term.

        Scores do not depend on the filter. In a large index, terms that most chunks have are left
        out where the others find n.
        """
        asked = self._analysis.asked(text)
        if not asked:
            return {}
        searcher = self._index.searcher()
        telling = self._telling(searcher, asked)
        hits = self._hits(searcher, telling, n, where)
        if len(hits) < n and len(telling) < len(asked):
            hits = self._hits(searcher, asked, n, where)
        names = self._names(searcher, [address for _, address in hits])
        return dict(zip(names, (float(score) for score, _ in hits), strict=True))

    def _hits(
        self, searcher: Any, terms: Mapping[str, float], n: int, where: Filter | None
    ) -> list[tuple[float, Any]]:
        """Return up to n scores and addresses of chunks with any of these weighted terms."""
        should = [(tantivy.Occur.Should, self._weighted(*term)) for term in terms.items()]
        query = tantivy.Query.boolean_query(should)
        if where:
            allowed = tantivy_filter(where, self._index, self._schema)
            both = [(tantivy.Occur.Must, query), (tantivy.Occur.Must, allowed)]
            query = tantivy.Query.boolean_query(both)
        found: list[tuple[float, Any]] = searcher.search(query, limit=n, count=False).hits
        return found

    def _telling(self, searcher: Any, asked: Mapping[str, float]) -> Mapping[str, float]:
        """Return the terms that tell chunks apart; all of them in an index that is not large.

        A term that more than half of all chunks have weighs nothing in the BM25 of Robertson and
        Sparck Jones, and little in Lucene's, but takes most of a search, which reads every chunk
        that has it.
        """
        if searcher.num_docs < LARGE:
            return asked
        half = searcher.num_docs / 2
        return {
            term: weight
            for term, weight in asked.items()
            if searcher.doc_freq("text", term) <= half
        }

    @translates_read_errors
    def passing(self, ids: Sequence[str] | None, where: Filter) -> set[str]:
        """Return those of these ids, or of all, whose metadata passes a filter."""
        query = tantivy_filter(where, self._index, self._schema)
        searcher = self._index.searcher()
        if ids is None:
            hits = searcher.search(query, limit=max(1, searcher.num_docs), count=False).hits
            return set(self._names(searcher, [address for _, address in hits]))
        among = tantivy.Query.term_set_query(self._schema, "id", list(ids))
        both = tantivy.Query.boolean_query([(tantivy.Occur.Must, q) for q in (among, query)])
        hits = searcher.search(both, limit=max(1, len(ids)), count=False).hits
        by_key = {id_as_number(id): id for id in ids}
        keys = searcher.fast_field_values(KEY, [address for _, address in hits])
        return {by_key[key] for key in keys}

    @translates_read_errors
    def count_passing(self, where: Filter) -> int:
        """Return how many chunks pass a filter."""
        allowed = tantivy_filter(where, self._index, self._schema)
        return int(self._index.searcher().search(allowed, limit=1, count=True).count)

    @translates_read_errors
    def keys(self, where: Filter, most: int) -> Keys:
        """Return the keys (`id_as_number`) of up to `most` chunks that pass a filter, unordered."""
        allowed = tantivy_filter(where, self._index, self._schema)
        searcher = self._index.searcher()
        hits = searcher.search(allowed, limit=max(1, most), count=False).hits
        found = searcher.fast_field_values(KEY, [address for _, address in hits])
        return np.array(found, dtype=np.uint64)

    def ids(self) -> Iterator[str]:
        """Yield every id in the index, in the order of their keys."""
        searcher, first, last = self._index.searcher(), 0, set[str]()
        while page := self._page(searcher, first):
            fresh = [id for _, id in page if id not in last]
            if not fresh:
                return
            yield from fresh
            first = page[-1][0]
            last = {id for key, id in page if key == first}

    def _page(self, searcher: Any, first: int) -> list[tuple[int, str]]:
        """Return some ids with their keys: the lowest that are not below `first`."""
        with translate_keyword_errors(self._folder):
            kind, order = tantivy.FieldType.Unsigned, tantivy.Order.Asc
            rest = tantivy.Query.range_query(self._schema, KEY, kind, lower_bound=first)
            found = searcher.search(rest, _PAGE, count=False, order_by_field=KEY, order=order)
            names = self._names(searcher, [place for _, place in found.hits])
            return [(key, id) for (key, _), id in zip(found.hits, names, strict=True)]

    @translates_read_errors
    def some_ids(self, n: int) -> list[str]:
        """Return the ids of up to n chunks, whichever are found first."""
        searcher = self._index.searcher()
        hits = searcher.search(tantivy.Query.all_query(), limit=n, count=False).hits
        return [searcher.doc(address)["id"][0] for _, address in hits]

    @translates_read_errors
    def close(self) -> None:
        """Finish what the writer is doing and let another one in."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.wait_merging_threads()

    def _open(self, *, create: bool = False) -> None:
        self._schema = _schema()
        with translate_keyword_errors(self._folder):
            self._index = self._opened(create=create)
            # By itself it would take whatever files lie there, within half a second and unchecked.
            self._index.config_reader(reload_policy="manual")
        # Without this, before anything is written, tantivy's writer thread dies.
        self._index.register_tokenizer(_ANALYZER, _by_spaces())
        self._note = self._read_note()
        held = (self._note or {}).get("languages", ())
        self._analysis = self._analysis_in(held)

    def _opened(self, *, create: bool) -> Any:
        """Open what is there by its own fields: those of another version are rebuilt later."""
        folder = str(self._folder)
        if not tantivy.Index.exists(folder):
            if not create:  # another process is replacing it, or took it away
                raise damaged_keyword_index(self._folder, "its files are gone")
            return tantivy.Index(self._schema, path=folder)
        try:
            return tantivy.Index(self._schema, path=folder)
        except ValueError as error:
            if "schema does not match" not in str(error):
                raise
            return tantivy.Index.open(folder)

    def _names(self, searcher: Any, places: Sequence[Any]) -> list[str]:
        """Return the ids of documents of the index."""
        if self.outdated:  # it may lack these fields
            return [searcher.doc(place)["id"][0] for place in places]
        keys = searcher.fast_field_values(KEY, places)
        rests = searcher.fast_field_values(REST, places)
        return [
            searcher.doc(place)["id"][0] if rest is None else f"{key:016x}{rest:016x}"
            for place, key, rest in zip(places, keys, rests, strict=True)
        ]

    def _read_note(self) -> dict[str, Any] | None:
        """Return what the index says of its analysis: nothing if it is new, {} if it is old."""
        try:
            found = json.loads(read_bounded(self._folder / _ANALYSIS))
        except FileNotFoundError:
            return {} if self._index.searcher().num_docs else None
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _settle_analysis(self, sample: Iterable[str]) -> None:
        languages = detect_languages(sample) if self._language == AUTO else (self._language,)
        self._analysis = self._analysis_in(languages)
        self._note = {
            "version": ANALYSIS_VERSION,
            "language": self._language,
            "languages": list(self._analysis.languages),
        }
        temporary = self._folder / f"{_ANALYSIS}.tmp"
        temporary.write_text(json.dumps(self._note), encoding="utf-8")
        temporary.replace(self._folder / _ANALYSIS)

    def _analysis_in(self, languages: Collection[str]) -> Analysis:
        known = [language for language in LANGUAGES if language in languages]
        return Analysis(known, parted=self._language != _NONE)

    def _weighted(self, term: str, weight: float) -> Any:
        query = tantivy.Query.term_query(self._schema, "text", term)
        return query if weight == 1 else tantivy.Query.boost_query(query, weight)

    def _write(self, added: Iterable[KeywordRow], deleted: Iterable[str]) -> None:
        rows = iter(added)
        if self._note is None:
            first = list(islice(rows, _SAMPLE))
            if first:
                self._settle_analysis(text for _, text, _ in first)
            rows = chain(first, rows)
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
        for id in deleted:
            self._writer.delete_documents_by_term("id", id)
        while block := list(islice(rows, _SAMPLE)):
            texts = self._analysis.joined([text for _, text, _ in block])
            for (id, _, metadata), text in zip(block, texts, strict=True):
                self._writer.delete_documents_by_term("id", id)
                self._writer.add_document(_document(id, text, metadata))
        self._writer.commit()
        self._index.reload()


def _document(id: str, text: str, metadata: Metadata) -> Any:
    document = tantivy.Document(id=id, text=text)
    document.add_unsigned(KEY, id_as_number(id))
    if is_chunk_id(id):
        document.add_unsigned(REST, int(id[16:], 16))
    for term in metadata_terms(metadata):
        document.add_text(FIELD, term)
    return document


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field(FIELD, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field(KEY, fast=True)
    builder.add_unsigned_field(REST, fast=True)
    builder.add_text_field("text", tokenizer_name=_ANALYZER, index_option="freq")
    return builder.build()


def _by_spaces() -> Any:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
