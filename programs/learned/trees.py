"""Boosted trees as plain arrays: grown by LightGBM, evaluated here.

What is kept of them are numbers that are checked before they are used: LightGBM, whose own files
are read by a parser that trusts them, is needed where trees are grown and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ragwright.programs.learned.base import Array
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.extras import require

ROUNDS = 150
PARAMETERS: Mapping[str, Any] = {
    "objective": "lambdarank", "num_leaves": 5, "learning_rate": 0.05, "min_data_in_leaf": 100,
    "lambda_l2": 30, "feature_fraction": 0.7, "bagging_fraction": 0.7, "bagging_freq": 1,
    "bagging_by_query": True, "lambdarank_truncation_level": 15, "label_gain": [0, 1],
    "deterministic": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip
"""Small trees, few of them, strongly drawn to nothing: hundreds of questions are usual, not
thousands."""
MOST_NODES, MOST_TREES, MOST_DEPTH = 65_536, 2_000, 64
LEAF = -1


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees whose leaves are added up.

    Attributes:
        roots: The node that each tree begins at, shape (T,).
        nodes: Shape (N, 3): the feature that a node asks for, `LEAF` for none; where it goes if
            that is at most the threshold, and where if not. Both stand behind the node.
        numbers: Shape (N, 2): its threshold; what a leaf adds.
    """

    roots: Array
    nodes: Array
    numbers: Array

    def scores(self, table: Array) -> Array:
        """What all trees say together of rows of finite features, shape (R, F) to (R,)."""
        rows = np.arange(len(table))[:, None]
        at = np.broadcast_to(self.roots, (len(table), len(self.roots)))
        while (asks := self.nodes[at, 0]).max(initial=LEAF) > LEAF:
            low = table[rows, np.maximum(asks, 0)] <= self.numbers[at, 0]
            onward = np.where(low, self.nodes[at, 1], self.nodes[at, 2])
            at = np.where(asks > LEAF, onward, at)
        return np.asarray(self.numbers[at, 1].sum(axis=1))

    @property
    def arrays(self) -> dict[str, Array]:
        """Everything, by name, to be stored."""
        return {"roots": self.roots, "nodes": self.nodes, "numbers": self.numbers}

    @classmethod
    def checked(cls, arrays: Mapping[str, Array], features: int) -> Self:
        """Take what `arrays` gave.

        Raises:
            InputError: They are no trees over so many features, or too many or too deep ones.
        """
        roots = _table(arrays, "roots", "i", (None,), MOST_TREES)
        nodes = _table(arrays, "nodes", "i", (None, 3), MOST_NODES)
        numbers = _table(arrays, "numbers", "f", (len(nodes), 2), MOST_NODES)
        own, inner = np.arange(len(nodes)), nodes[:, 0] > LEAF
        onward = nodes[inner, 1:]
        if not (
            np.isfinite(numbers).all()
            and ((roots >= 0) & (roots < len(nodes))).all()
            and ((nodes[:, 0] >= LEAF) & (nodes[:, 0] < features)).all()
            and ((onward > own[inner, None]) & (onward < len(nodes))).all()
        ):
            raise InputError("The trees of a ranker lead to what is not there.")
        if _depth(nodes) > MOST_DEPTH:
            raise InputError(f"The trees of a ranker are deeper than {MOST_DEPTH}.")
        return cls(roots, nodes, numbers)


def grow_boosted_trees(
    table: Array, wanted: Array, sizes: Array, rising: tuple[int, ...], *,
    start: Array | None = None, seed: int = 0,
) -> Trees:  # fmt: skip
    """Grow trees that put what is wanted first: LambdaMART (Burges, 2010), as LightGBM has it.

    Args:
        table: Features of all candidates, shape (R, F), question after question.
        wanted: Which of them are wanted, shape (R,).
        sizes: How many candidates each question has, together R.
        rising: For every feature whether more of it can only be better (1), or not (0).
        start: The scores to go on from, shape (R,).
        seed: Of what is drawn in growing.

    Raises:
        MissingExtra: LightGBM is not installed.
    """
    require("lightgbm")
    import lightgbm

    data = lightgbm.Dataset(table, wanted.astype(np.int32), group=sizes, init_score=start)
    asked = {**PARAMETERS, "seed": seed, "monotone_constraints": list(rising)}
    model = lightgbm.train(asked, data, ROUNDS)
    nodes: list[tuple[int, int, int]] = []
    numbers: list[tuple[float, float]] = []
    roots = []
    for one in model.dump_model()["tree_info"]:
        roots.append(len(nodes))
        _enter(one["tree_structure"], nodes, numbers)
    return Trees(
        np.array(roots, dtype=np.int32),
        np.array(nodes, dtype=np.int32).reshape(-1, 3),
        np.array(numbers, dtype=np.float64).reshape(-1, 2),
    )


def _enter(
    node: Mapping[str, Any], nodes: list[tuple[int, int, int]], numbers: list[tuple[float, float]]
) -> None:
    """Write a node down, and all below it behind it."""
    own = len(nodes)
    nodes.append((LEAF, own, own))
    if "split_feature" not in node:
        numbers.append((0.0, float(node["leaf_value"])))
        return
    numbers.append((float(node["threshold"]), 0.0))
    left = len(nodes)
    _enter(node["left_child"], nodes, numbers)
    right = len(nodes)
    _enter(node["right_child"], nodes, numbers)
    nodes[own] = (int(node["split_feature"]), left, right)


def _depth(nodes: Array) -> int:
    """Of the deepest node, from 0; every node stands behind the one that leads to it."""
    depths = [0] * len(nodes)
    for own, (feature, left, right) in enumerate(nodes.tolist()):
        if feature > LEAF:
            for below in (left, right):
                depths[below] = max(depths[below], depths[own] + 1)
    return max(depths, default=0)


def _table(
    arrays: Mapping[str, Array], name: str, kind: str, shape: tuple[int | None, ...], most: int
) -> Array:
    found = arrays.get(name)
    if found is None or found.dtype.kind != kind or found.ndim != len(shape):
        raise InputError(f"The learned array {name!r} is not there, or is of another kind.")
    if any(want not in (None, have) for want, have in zip(shape, found.shape, strict=True)):
        raise InputError(f"The learned array {name!r} has the shape {found.shape}, not {shape}.")
    if len(found) > most:
        raise InputError(f"The learned array {name!r} has {len(found)} rows, {most} at most.")
    return found
