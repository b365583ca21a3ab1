"""The open parts of an index in; where they differ from its ledger out, id by id.

The ledger is right by definition. Nothing here reads a whole index into memory, and nothing is
changed. Knows neither what is reported of a difference nor how it is mended: see `upkeep.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ragwright.retrievers.errors import DamagedStore
from ragwright.retrievers.ledger import Ledger, Record
from ragwright.retrievers.ledger_file import PAGE
from ragwright.retrievers.metadata import add_date_seconds
from ragwright.retrievers.parts import Parts
from ragwright.retrievers.seen import SeenIds, batches

PARTS = ("store", "keyword", "tokens", "vectors")

IndexFinding = tuple[str, str, Sequence[str]]
"""A part, what is the matter ("missing", "extra" or "wrong"), and with which ids."""


def find_index_problems(parts: Parts) -> Iterator[IndexFinding]:
    """Compare every part with the ledger, page by page; a finding may be of no ids.

    Raises:
        IndexFault: A part cannot be read at all.
    """
    for part, ids in (("store", parts.store.ids()), ("keyword", parts.keyword.ids())):
        yield from ((part, kind, found) for kind, found in _compared(parts.ledger, ids))
    file = parts.ledger.counter("token_file")
    yield from (("vectors", "wrong", ids) for ids in batches(parts.own.now.damaged(), PAGE))
    for page in batches(parts.ledger.all_records(), PAGE):
        yield "store", "wrong", _wrong_rows(parts, page)
        intact = parts.vectors.intact(file, [record.span for record in page])
        broken = [record.chunk.id for record, whole in zip(page, intact, strict=True) if not whole]
        yield "tokens", "wrong", broken


def _compared(ledger: Ledger, ids: Iterable[str]) -> Iterator[tuple[str, Sequence[str]]]:
    with SeenIds(ids) as held:
        for page in batches(held, PAGE):
            live = ledger.tokens(page)
            yield "extra", [id for id in page if id not in live]
        for page in batches(ledger.ids(), PAGE):
            yield "missing", [id for id in page if id not in held]


def _wrong_rows(parts: Parts, page: Sequence[Record]) -> list[str]:
    """Return the ids whose row cannot be read, or is not what was written."""
    try:
        rows = parts.store.fetch([record.chunk.id for record in page])
    except DamagedStore:
        if len(page) == 1:
            return [page[0].chunk.id]
        middle = len(page) // 2
        return [*_wrong_rows(parts, page[:middle]), *_wrong_rows(parts, page[middle:])]
    wrong = []
    for record in page:
        row = rows.get(record.chunk.id)
        held = (record.chunk.text, add_date_seconds(record.chunk.facts))
        old = (record.chunk.text, record.chunk.facts)  # written before dates could be compared
        same = row and (row.text, dict(row.metadata)) in (held, old)
        if row and not same:
            wrong.append(record.chunk.id)
    return wrong
