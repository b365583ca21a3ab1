"""Fuses signals: makes tables of scores comparable and adds them up, one score a candidate.

A signal is a table of scores of shape (Q, C) for Q questions and up to C candidates each, with
NaN where a source did not see a candidate. Pure NumPy; knows neither which candidates those are
nor what is chosen of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ragwright.programs.knobs import KnobValues
from ragwright.programs.signals import Signal
from ragwright.retrievers.embedding.base import Floats, Integers

Element = TypeVar("Element", bound=np.generic)
Booleans = NDArray[np.bool_]


def fuse_signals(
    tables: Mapping[str, Floats],
    declared: Mapping[str, Signal],
    knobs: KnobValues,
    *,
    visible: Booleans,
) -> Floats:
    """Add up the signals; -inf where not visible.

    "rrf": sum of weight / (constant + rank), rank from 1, nothing where unseen (Cormack, Clarke
    and Büttcher, SIGIR 2009, constant 60). "convex": the weighted mean of scaled scores (Bruch,
    Gai and Ingber, TOIS 2023). How scores are scaled, and what an unseen one counts as, each
    signal declares.
    """
    total = np.zeros(visible.shape, dtype=np.float32)
    weights = {name: knobs.weight(name) for name in tables}
    weight_sum, numbers = sum(weights.values()) or 1.0, knobs.numbers
    for name, table in tables.items():
        share = np.float32(weights[name] / weight_sum)
        if not share:
            continue
        if knobs.fusion == "rrf":
            ranks = ranks_by_row(table) + 1
            total += np.where(np.isnan(table), 0, share / (knobs.rrf_constant + ranks))
        else:
            signal = declared[name]
            total += share * signal.filled(signal.scaled(table, numbers))
    return np.where(visible, total, np.float32(-np.inf)).astype(np.float32)


def take_columns(table: NDArray[Element], columns: Integers) -> NDArray[Element]:
    """Take columns of shape (Q, R) from a table of shape (Q, C).

    What `np.take_along_axis` does, in a third of its time where the tables are small.
    """
    return table[np.arange(len(columns))[:, None], columns]


def ranks_by_row(table: Floats) -> Integers:
    """Rank within each row of (Q, C), best first from 0; ties keep their order; C where NaN."""
    order = np.argsort(-table, axis=1, kind="stable")  # NaN comes last
    ranks = np.empty(table.shape, dtype=np.int64)
    ranks[np.arange(len(table))[:, None], order] = np.arange(table.shape[1])
    return np.where(np.isnan(table), table.shape[1], ranks)
