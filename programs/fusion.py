"""Tables of scores in, one score for each candidate out: how signals become comparable and add up.

A signal is a table of scores of shape (Q, C) for Q questions and up to C candidates each, with
NaN where a source did not see a candidate. Pure NumPy; knows neither which candidates those are
nor what is chosen of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ragwright.programs.knobs import KnobValues

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

SOURCES = ("dense", "bm25")
RERANKERS = ("maxsim", "cross", "lm")


def fuse(
    tables: Mapping[str, Floats],
    weights: Mapping[str, float],
    knobs: KnobValues,
    *,
    visible: Booleans,
) -> Floats:
    """Add up the signals; -inf where not visible.

    "rrf": sum of weight / (constant + rank), rank from 1, nothing where unseen (Cormack, Clarke
    and Büttcher, SIGIR 2009, constant 60). "convex": the weighted mean of scaled scores (Bruch,
    Gai and Ingber, TOIS 2023), where BM25 is divided by the question's best. An unseen cosine
    counts as the lowest one seen, the most it can have been; any other unseen score as 0.
    """
    total = np.zeros(visible.shape, dtype=np.float32)
    weight_sum = sum(weights[name] for name in tables) or 1.0
    for name, table in tables.items():
        share = np.float32(weights[name] / weight_sum)
        if not share:
            continue
        if knobs.fusion == "rrf":
            ranks = ranked(table) + 1
            total += np.where(np.isnan(table), 0, share / (knobs.rrf_constant + ranks))
        else:
            total += share * _filled(name, scaled(name, table))
    return np.where(visible, total, np.float32(-np.inf)).astype(np.float32)


def scaled(name: str, table: Floats) -> Floats:
    """Bring a signal to about 0..1: cosines are there, BM25 by its best, logits by sigmoid.

    The sigmoid is written as a tangent, which does not overflow.
    """
    if name == "bm25":
        best = np.max(table, axis=1, initial=0, where=~np.isnan(table), keepdims=True)
        return np.asarray(table / np.maximum(best, 1e-9), dtype=np.float32)
    if name == "cross":
        return np.asarray(0.5 + 0.5 * np.tanh(table / 2), dtype=np.float32)
    return table


def ranked(table: Floats) -> Integers:
    """Rank within each row of (Q, C), best first from 0; ties keep their order; C where NaN."""
    order = np.argsort(-table, axis=1, kind="stable")  # NaN comes last
    ranks = np.empty(table.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, np.arange(table.shape[1])[None, :], axis=1)
    return np.where(np.isnan(table), table.shape[1], ranks)


def _filled(name: str, table: Floats) -> Floats:
    if name != "dense":
        return np.nan_to_num(table, nan=0.0)
    lowest = np.min(table, axis=1, initial=np.inf, where=~np.isnan(table), keepdims=True)
    return np.where(np.isnan(table), np.where(np.isinf(lowest), 0, lowest), table)
