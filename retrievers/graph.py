"""Settings of the graph that vectors are searched by, tried on an index's own vectors.

Each is built beside the index, in a folder that is removed, and asked what exact search answers.
The cheapest that finds enough is the one to take. The index itself is only read.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.stores.base import GraphSettings, StoreRow, StoreURL, slices
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.types import Progress

NEAREST = 10
MOST_VECTORS = 20_000
"""Vectors of a large index that are tried out."""
QUERIES = 200
QUERY_WORDS = 12
TRIED = tuple(
    GraphSettings(neighbors=neighbors, construction=construction, search=search)
    for neighbors, construction, search in (
        (8, 100, 50), (16, 100, 50), (16, 100, 100), (16, 200, 200), (32, 200, 200), (32, 200, 400),
    )
)  # fmt: skip
"""From the cheapest to the default; the first that finds enough is proposed."""


@dataclass(frozen=True, slots=True)
class GraphTrial:
    """One setting, measured.

    Attributes:
        graph: The setting.
        recall: Share of the ten nearest by exact search that it finds, mean over queries.
        p50: Milliseconds of a search, median.
        p95: The 95th percentile.
        build: Seconds to build the graph.
    """

    graph: GraphSettings
    recall: float
    p50: float
    p95: float
    build: float


@dataclass(frozen=True, slots=True)
class GraphChoice:
    """What was found.

    Attributes:
        tried: Every setting, in the order given.
        chosen: The first that reaches the target; the one that finds most if none does.
        target: The recall that was asked for.
        vectors: How many were searched.
        queries: How many searches there were.
        freed_bytes: What `compact` would free, about.
        store: What the index's vectors lie in.
    """

    tried: tuple[GraphTrial, ...]
    chosen: GraphTrial
    target: float
    vectors: int
    queries: int
    freed_bytes: int
    store: str

    @property
    def recipe_lines(self) -> str:
        """The lines to paste into the recipe."""
        given = self.chosen.graph.model_dump(exclude_defaults=True)
        return "\n".join(["[index.graph]", *(f"{key} = {value}" for key, value in given.items())])


def optimize_graph(
    path: str | Path,
    *,
    target: float = 0.98,
    tried: Sequence[GraphSettings] = TRIED,
    progress: Progress | None = None,
) -> GraphChoice:
    """Try settings of the graph on an index's vectors.

    Args:
        path: The folder of the index; it is only read.
        target: Recall of the ten nearest that is enough, from 0 to 1.
        tried: The settings, the cheapest first.
        progress: Called after each with how many are done, and of how many.

    Raises:
        IndexFault: There is no index, it is empty, or its store fails.
    """
    folder = Path(path).resolve()
    stamp = Stamp.read(folder)
    ids, vectors, texts = _held(folder, stamp)
    queries = _queries(stamp, texts)
    near = [set(row) for row in _exact(vectors, queries)]
    found: list[GraphTrial] = []
    for setting in tried:
        found.append(_tried(setting, ids, vectors, queries, near))
        if progress:
            progress(len(found), len(tried))
    enough = (one for one in found if one.recall >= target)
    chosen = next(enough, max(found, key=lambda one: one.recall))
    saved, store = _dead_bytes(folder), str(stamp.store(folder))
    return GraphChoice(tuple(found), chosen, target, len(ids), len(queries), saved, store)


def _held(folder: Path, stamp: Stamp) -> tuple[list[str], Floats, list[str]]:
    with closing(open_store(stamp.store(folder), dimension=stamp.identity.dimension)) as store:
        ids = list(islice(store.ids(), MOST_VECTORS))
        rows: dict[str, StoreRow] = {}
        for part in slices(len(ids)):
            rows |= store.fetch(ids[part])
    kept = [id for id in ids if id in rows]
    if len(kept) < 2:
        raise IndexFault(f"The index {str(folder)!r} is empty.", hint="Ingest documents first.")
    return kept, np.stack([rows[id].vector for id in kept]), [rows[id].text for id in kept]


def _queries(stamp: Stamp, texts: Sequence[str]) -> Floats:
    """Return vectors of the first words of chunks drawn evenly: they are near, and not equal."""
    step = max(1, len(texts) // QUERIES)
    words = [" ".join(text.split()[:QUERY_WORDS]) or text for text in texts[::step][:QUERIES]]
    return stamp.embedder("query").encode(words).vectors


def _exact(vectors: Floats, queries: Floats) -> list[list[int]]:
    """Return the numbers of the nearest vectors by cosine, computed one by one."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    scores = (queries @ vectors.T) / lengths
    nearest: list[list[int]] = np.argsort(-scores, axis=1)[:, :NEAREST].tolist()
    return nearest


def _tried(
    graph: GraphSettings,
    ids: Sequence[str],
    vectors: Floats,
    queries: Floats,
    near: Sequence[set[int]],
) -> GraphTrial:
    place = {id: number for number, id in enumerate(ids)}
    with tempfile.TemporaryDirectory() as scratch:
        url = replace(StoreURL.parse(f"chroma:{scratch}/chroma"), graph=graph)
        with closing(open_store(url, dimension=vectors.shape[1], create=True)) as store:
            began = time.perf_counter()
            store.upsert(ids, vectors, [""] * len(ids), [{"n": 0}] * len(ids))
            build = time.perf_counter() - began
            store.query(queries[0], NEAREST)
            seconds, shares = [], []
            for query, wanted in zip(queries, near, strict=True):
                began = time.perf_counter()
                found = store.query(query, NEAREST)
                seconds.append(time.perf_counter() - began)
                shares.append(len({place[id] for id in found} & wanted) / len(wanted))
    p50, p95 = (1000 * np.percentile(seconds, [50, 95])).tolist()
    return GraphTrial(graph, float(np.mean(shares)), p50, p95, build)


def _dead_bytes(folder: Path) -> int:
    """About how many bytes of the token file no chunk refers to."""
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        rows, used = ledger.counter("token_end"), ledger.token_rows()
    size = sum(file.stat().st_size for file in folder.glob("tokens-*.bin"))
    return round(size * (rows - used) / rows) if rows else 0
