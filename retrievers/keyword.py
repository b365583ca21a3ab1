"""The BM25 index: chunk ids, texts and metadata in, scored ids out. A thin layer over tantivy.

Documents are OR-ed words, lower-cased, without English stop words, stemmed. Scores are Lucene's
BM25 (k1 = 1.2, b = 0.75). It stores no texts and knows nothing of vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tantivy

from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.keyword_filter import FIELD, terms, translated
from ragwright.retrievers.types import Metadata

_ANALYZER = "ragwright"
_WRITER_BYTES = 50_000_000


class KeywordIndex:
    """The keyword index in a folder.

    Args:
        folder: Where tantivy keeps its files.
        create: Make the folder if it is missing.

    Raises:
        IndexFault: The folder holds no readable index.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not (folder.is_dir() and tantivy.Index.exists(str(folder))):
            raise IndexFault(f"The keyword index {str(folder)!r} is missing.", hint="Ingest again.")
        self._folder = folder
        self._schema = _schema()
        self._analyzer = _analyzer()
        try:
            self._index = tantivy.Index(self._schema, path=str(folder))
        except ValueError as error:
            raise IndexFault(f"The keyword index {str(folder)!r} is damaged: {error}.") from error
        # Without this, before anything is written, tantivy's writer thread dies.
        self._index.register_tokenizer(_ANALYZER, self._analyzer)
        self._writer: Any = None

    def write(
        self, added: Iterable[tuple[str, str, Metadata]], deleted: Iterable[str] = ()
    ) -> None:
        """Add (id, text, metadata), replacing those that exist, delete ids, and commit.

        Raises:
            IndexFault: It cannot be written, because the disk is full for example.
        """
        try:
            self._write(added, deleted)
        except (ValueError, OSError) as error:
            self._writer = None
            raise IndexFault(
                f"The keyword index {str(self._folder)!r} cannot be written: {error}.",
                hint="Make room on the disk; the ingest goes on where it stopped.",
            ) from error

    def reload(self) -> None:
        """See what was committed since the index was opened."""
        self._index.reload()

    def query(self, text: str, n: int, where: Filter | None = None) -> dict[str, float]:
        """Return up to n ids with their BM25 scores, best first; only those sharing a word.

        Scores do not depend on the filter.
        """
        words = dict.fromkeys(self._analyzer.analyze(text))
        if not words:
            return {}
        should = [
            (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, "text", word))
            for word in words
        ]
        query = tantivy.Query.boolean_query(should)
        if where:
            allowed = translated(where, self._index, self._schema)
            both = [(tantivy.Occur.Must, query), (tantivy.Occur.Must, allowed)]
            query = tantivy.Query.boolean_query(both)
        searcher = self._index.searcher()
        hits = searcher.search(query, limit=n, count=False).hits
        return {searcher.doc(address)["id"][0]: float(score) for score, address in hits}

    def ids(self) -> Iterator[str]:
        """Yield every id in the index."""
        searcher = self._index.searcher()
        hits = searcher.search(tantivy.Query.all_query(), limit=max(1, searcher.num_docs)).hits
        return (searcher.doc(address)["id"][0] for _, address in hits)

    def close(self) -> None:
        """Finish what the writer is doing and let another one in."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.wait_merging_threads()

    def _write(self, added: Iterable[tuple[str, str, Metadata]], deleted: Iterable[str]) -> None:
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
        for id in deleted:
            self._writer.delete_documents_by_term("id", id)
        for id, text, metadata in added:
            self._writer.delete_documents_by_term("id", id)
            document = tantivy.Document(id=id, text=text)
            for term in terms(metadata):
                document.add_text(FIELD, term)
            self._writer.add_document(document)
        self._writer.commit()
        self.reload()


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field(FIELD, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("text", tokenizer_name=_ANALYZER, index_option="freq")
    return builder.build()


def _analyzer() -> Any:
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(80))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
        .filter(tantivy.Filter.stopword("english"))
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )
