"""`Signal` and `Number`: how a part declares its scores and its tunable numbers.

A signal is one way to score candidates: a source that finds them, or a reranker that scores what
was found. Its declaration says what it is called, how its raw scores become comparable, and which
numbers of its own can be tuned. Knobs, recipe keys, search space, pool, report and command take
names, ranges and scales from here, so that a new signal touches no table of names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import Floats
from ragwright.retrievers.errors import InputError

Numbers = Mapping[str, float]
Scale = Callable[[Floats, Numbers], Floats]
"""Raw scores of shape (Q, C), NaN where unseen, and a signal's own numbers in; about 0..1 out."""

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
WEIGHT, DEPTH = "weight_", "depth_"
_NONE: Numbers = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Number:
    """One number by which a part can be tuned.

    Attributes:
        name: Unique within its part: small letters, digits and `_`.
        low: The least that it may be.
        high: The most.
        default: What it is unless a recipe, a state or the tuner says otherwise.
        tried: What the search tries; by default, evenly between `low` and `high`.
        replayed: Whether stored candidates can be ranked anew under another value of it. One that
            cannot be replayed keeps its value while retrieval is searched.
        help: What it does, in a few words.
    """

    name: str
    low: float
    high: float
    default: float
    tried: tuple[float, ...] = ()
    replayed: bool = True
    help: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(f"A number cannot be called {self.name!r}.", hint=_NAMES)
        outside = [v for v in (self.default, *self.tried) if not self.low <= v <= self.high]
        if outside:
            raise InputError(
                f"The number {self.name!r} goes from {self.low} to {self.high}, but its "
                f"declaration has {outside[0]}."
            )

    @property
    def choices(self) -> tuple[float, ...]:
        """What the search tries: eleven even steps, unless the declaration says otherwise."""
        if self.tried:
            return self.tried
        return tuple(float(value) for value in np.linspace(self.low, self.high, 11).round(6))


def unscaled(scores: Floats, numbers: Numbers) -> Floats:
    """For scores that are within 0..1 already, such as cosines."""
    return scores


def scale_by_best(scores: Floats, numbers: Numbers) -> Floats:
    """Divide by the question's best score, for scores without an upper end, such as BM25."""
    best = np.max(scores, axis=1, initial=0, where=~np.isnan(scores), keepdims=True)
    return np.asarray(scores / np.maximum(best, 1e-9), dtype=np.float32)


def scale_by_sigmoid(scores: Floats, numbers: Numbers) -> Floats:
    """Squash logits; written as a tangent, which does not overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(scores / 2), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Signal:
    """One way to score candidates.

    Attributes:
        name: Its key among a passage's signals; its weight is the knob `weight_NAME`.
        label: What people read; the name by default.
        scale: How raw scores come to about 0..1.
        source: Whether it finds candidates. A source has a depth too, the knob `depth_NAME`.
        relative: Whether raw scores of two queries cannot be compared.
        lowest: Whether an unseen score counts as the lowest one seen, not as 0.
        replayed: Whether a pool stores its score of every candidate.
        numbers: What else of it can be tuned; the knobs are called `NAME.NUMBER`.
    """

    name: str
    label: str = ""
    scale: Scale = unscaled
    source: bool = False
    relative: bool = False
    lowest: bool = False
    replayed: bool = True
    numbers: tuple[Number, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(f"A signal cannot be called {self.name!r}.", hint=_NAMES)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signal:
        """Nothing in it changes, so the many copies of a program share it."""
        return self

    @property
    def shown(self) -> str:
        """What people read."""
        return self.label or self.name

    @property
    def weight(self) -> str:
        """The name of its weight among the knobs."""
        return WEIGHT + self.name

    @property
    def depth(self) -> str:
        """The name of a source's depth among the knobs."""
        return DEPTH + self.name

    def knob(self, number: Number) -> str:
        """The name of one of its own numbers among the knobs."""
        return f"{self.name}.{number.name}"

    @property
    def knobs(self) -> tuple[str, ...]:
        """The names of all the knobs that it adds."""
        depth = (self.depth,) if self.source else ()
        return (self.weight, *depth, *(self.knob(number) for number in self.numbers))

    def scaled(self, scores: Floats, knobs: Numbers = _NONE) -> Floats:
        """Raw scores of shape (Q, C) on a scale of about 0..1; NaN where unseen."""
        own = {n.name: knobs.get(self.knob(n), n.default) for n in self.numbers}
        return self.scale(scores, own)

    def filled(self, scores: Floats) -> Floats:
        """Scaled scores with what was not seen counted as 0, or as the lowest score seen.

        The lowest seen is the most that an unseen cosine can have been.
        """
        if not self.lowest:
            return np.nan_to_num(scores, nan=0.0)
        lowest = np.min(scores, axis=1, initial=np.inf, where=~np.isnan(scores), keepdims=True)
        return np.where(np.isnan(scores), np.where(np.isinf(lowest), 0, lowest), scores)


DENSE = Signal("dense", source=True, lowest=True)
BM25 = Signal("bm25", "BM25", scale_by_best, source=True, relative=True)
SOURCES = (DENSE, BM25)
"""What every index can be searched by."""


def signals_by_name(signals: Iterable[Signal]) -> dict[str, Signal]:
    """Declarations by name.

    Raises:
        InputError: Two different ones have one name.
    """
    found: dict[str, Signal] = {}
    for signal in signals:
        if found.setdefault(signal.name, signal) != signal:
            raise InputError(
                f"Two parts of one program call their signal {signal.name!r}.",
                hint="Give one of them another name: its weight is a knob of that name.",
            )
    return found


_NAMES = "Use small letters, digits and single underscores, starting with a letter."
