"""Diverse ranking (MMR): orders candidates so that they do not say the same thing twice.

Maximal marginal relevance over many questions at once. Vectors are kept as 8-bit integers: their
products are exact in any order of summing, so that a replayed pool gives exactly the live result.
Pure NumPy; knows neither knobs nor where vectors come from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ragwright.retrievers.embedding.base import Floats, Integers

SignedCodes = NDArray[np.int8]

SCALE = 127


def encode_vector(vector: Floats) -> SignedCodes:
    """Round a vector of shape (d,), brought to length 1, to 8 bits a dimension."""
    length = float(np.linalg.norm(vector)) or 1.0
    return np.asarray(np.rint(vector * np.float32(SCALE / length)), dtype=np.int8)


def pick_diverse(scores: Floats, codes: SignedCodes, diversity: float, k: int) -> Integers:
    """Pick up to k, each as relevant and as unlike those before it as can be.

    The first is the most relevant. The next is the one with the most (1 - diversity) * relevance -
    diversity * (its best cosine with one that is taken): Carbonell and Goldstein, SIGIR 1998.
    Relevance is the score on a scale from the question's worst (0) to its best (1).

    Args:
        scores: Shape (Q, R); -inf where there is no candidate.
        codes: Shape (Q, R, d), from `encode_vector`.
        diversity: From 0, scores alone, to 1.
        k: How many to pick.

    Returns:
        Shape (Q, min(k, R)): columns of `scores`, -1 once they run out.
    """
    left, rows = np.isfinite(scores), np.arange(len(scores))
    relevance = _scaled(scores, left)
    vectors = codes.astype(np.float32)
    closest = np.zeros_like(relevance)
    picked = np.full((len(scores), min(k, scores.shape[1])), -1, dtype=np.int64)
    for place in range(picked.shape[1]):
        worth = np.float32(1 - diversity) * relevance - np.float32(diversity) * closest
        worth = worth if place else relevance
        best = np.where(left, worth, -np.inf).argmax(axis=1)
        picked[:, place] = np.where(left[rows, best], best, -1)
        left[rows, best] = False
        cosine = (vectors @ vectors[rows, best][:, :, None])[:, :, 0] / np.float32(SCALE**2)
        closest = np.maximum(closest, cosine) if place else cosine
    return picked


def _scaled(scores: Floats, real: NDArray[np.bool_]) -> Floats:
    low = np.min(scores, axis=1, initial=np.inf, where=real, keepdims=True)
    high = np.max(scores, axis=1, initial=-np.inf, where=real, keepdims=True)
    span = np.where(high > low, high - low, np.float32(1))
    return np.where(real, (scores - low) / span, np.float32(0)).astype(np.float32)
