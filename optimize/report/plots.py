"""Computes what the report's charts draw: places from 0 to 1, labels, names of colours.

The templates turn places into SVG. Knows nothing of pixels and markup.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ragwright.optimize.result import CompileResult
from ragwright.optimize.retrieval.search import Search, Trial
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.programs.knobs import KnobValues
from ragwright.programs.signals import DEPTH, WEIGHT

FLOOR = 0.1
"""The lowest tenth of the trials stands on the floor of a plot, so the rest can be told apart."""
LABEL_GAP = 0.075
SHARE = "_share"
READER = ("k", "order")
"""What no ranking metric tells apart; where neighbours were not searched, they neither."""
AxisValue = float | str
Tick = tuple[float, str]
"""A place from 0 to 1, and the round number that stands there."""


def round_ticks(low: float, high: float, most: int = 5) -> tuple[Tick, ...]:
    """Return the numbers of an axis: 1, 2 or 5 times a power of ten, `most` steps or fewer."""
    span = high - low
    if not span > 0:
        return ()
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * part for part in (1, 2, 5, 10) if span <= power * part * most * 1.0001)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(
        ((number * step - low) / span, f"{number * step:.{places}f}")
        for number in range(first, last + 1)
    )


@dataclass(frozen=True, slots=True)
class Dot:
    """A mark at (x, y), both from 0 to 1, y upwards."""

    x: float
    y: float
    title: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """The objective against one searched parameter.

    Attributes:
        name: The parameter, as the search calls it.
        title: The recipe's name of its knob.
        importance: From 0 to 1, as Optuna estimates it; None if it was not computed.
        ticks: Places and labels along the bottom.
        dots: One per trial; the chosen setting is marked.
    """

    name: str
    title: str
    importance: float | None
    ticks: tuple[Tick, ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A compared program between quality and cost.

    Attributes:
        name: Of the program.
        x: Its milliseconds on a scale from 0.
        y: Its score.
        label: Where its name stands, from 0 to 1 upwards, clear of the others.
        size: Its tokens, as a share of the most.
        best: Whether no other is as good and as fast, and better or faster.
        chosen: Whether it is the compiled one.
    """

    name: str
    x: float
    y: float
    label: float
    size: float
    best: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class Frontier:
    """Score against latency, with the round numbers of both axes: places and labels."""

    points: tuple[Point, ...]
    times: tuple[Tick, ...]
    scores: tuple[Tick, ...]


DiffPiece = tuple[Literal["same", "gone", "new"], str]


def knob_axes(trials: Sequence[Trial]) -> dict[str, Callable[[KnobValues], AxisValue]]:
    """What the search varies, by the names that it uses, and how to read it from the knobs."""
    names = {name for trial in trials for name, _ in trial.knobs}
    weights = {name.removeprefix(WEIGHT) for name in names if name.startswith(WEIGHT)}
    depths = sorted((name for name in names if name.startswith(DEPTH)), reverse=True)
    sources = [name.removeprefix(DEPTH) for name in depths]
    own = sorted(name for name in names if "." in name)
    found: dict[str, Callable[[KnobValues], AxisValue]] = {
        f"{name}_share": partial(_share, names=(name,), among=tuple(sources))
        for name in sources[1:]
    }
    late = tuple(sorted(weights - set(sources)))
    found["rerank_share"] = partial(_share, names=late, among=(*sources, *late))
    found["fusion"] = partial(_text, name="fusion")
    for name in (*depths, "rerank_depth", "diversity", "neighbours", *own):
        found[name] = partial(_text, name=name)
    return found


def _share(knobs: KnobValues, names: Sequence[str], among: Sequence[str]) -> float:
    whole = sum(knobs.weight(name) for name in among)
    return round(sum(knobs.weight(name) for name in names) / whole, 3)


def _text(knobs: KnobValues, name: str) -> str:
    value = knobs.get(name, "")
    return value if isinstance(value, str) else f"{value:g}"


def knob_panels(search: Search, chosen: KnobValues) -> tuple[Panel, ...]:
    """One panel per parameter that was varied, the most important first."""
    made = [
        _panel(name, value, search, chosen)
        for name, value in knob_axes(search.trials).items()
        if len({value(trial.knobs) for trial in search.trials}) > 1
    ]
    return tuple(sorted(made, key=lambda panel: -(panel.importance or 0)))


def _panel(
    name: str, value: Callable[[KnobValues], AxisValue], search: Search, chosen: KnobValues
) -> Panel:
    values = [value(trial.knobs) for trial in search.trials]
    heights = trial_heights(search.trials)
    names = sorted({str(item) for item in values}, key=lambda item: (len(item), item))
    numbers = all(isinstance(item, float) for item in values)

    def place(item: AxisValue, number: int) -> float:
        if isinstance(item, float):
            return item
        spread = ((number * 7) % 11 - 5) / 11  # Equal choices side by side, not on top
        return (names.index(item) + 0.5 + 0.5 * spread) / len(names)

    ticks = (
        tuple((share, f"{share:g}") for share in (0.0, 0.5, 1.0))
        if numbers
        else tuple(((at + 0.5) / len(names), label) for at, label in enumerate(names))
    )
    reader = READER if "neighbours" in search.importance else (*READER, "neighbours")
    dots = tuple(
        Dot(place(item, number), height, _said(trial), _alike(trial.knobs, chosen, reader))
        for number, (item, height, trial) in enumerate(
            zip(values, heights, search.trials, strict=True)
        )
    )
    return Panel(name, _title(name, search), search.importance.get(name), ticks, dots)


def _title(name: str, search: Search) -> str:
    """Say which of the recipe's knobs a share is of: the search varies weights against another."""
    if not name.endswith(SHARE):
        return name
    late = [found for found, _ in search.trials[0].knobs if found.startswith(WEIGHT)]
    depths = {found for trial in search.trials for found, _ in trial.knobs}
    own = [found for found in late if DEPTH + found.removeprefix(WEIGHT) not in depths]
    one = WEIGHT + name.removesuffix(SHARE)
    return f"{one if one in late else ' + '.join(own) or one} (share)"


def trial_heights(trials: Sequence[Trial]) -> list[float]:
    """Scores on a scale from the lowest tenth to the best."""
    low, high = _trial_scale(trials)
    span = max(high - low, 1e-6)
    return [float(max(0.0, (trial.score - low) / span)) for trial in trials]


def trial_ticks(trials: Sequence[Trial]) -> tuple[Tick, ...]:
    """Round scores on that scale."""
    return round_ticks(*_trial_scale(trials))


def _trial_scale(trials: Sequence[Trial]) -> tuple[float, float]:
    scores = np.array([trial.score for trial in trials])
    return float(np.quantile(scores, FLOOR)), float(scores.max())


def frontier(result: CompileResult) -> Frontier:
    """Place the compared programs between median milliseconds and score."""
    test = result.test
    slowest = 1.2 * max(1000 * done.seconds for done in test.values()) or 1.0
    means = [done.mean for done in test.values()]
    pad = max(0.15 * (max(means) - min(means)), 0.01)
    low, high = max(0.0, min(means) - pad), min(1.0, max(means) + pad)
    most = max(done.tokens for done in test.values()) or 1.0
    span = max(high - low, 1e-6)
    heights = {name: (done.mean - low) / span for name, done in test.items()}
    labels = _apart(heights)
    points = tuple(
        Point(
            name=name,
            x=1000 * done.seconds / slowest,
            y=heights[name],
            label=labels[name],
            size=done.tokens / most,
            best=not any(_dominates(other, done) for other in test.values()),
            chosen=name == result.chosen,
        )
        for name, done in test.items()
    )
    return Frontier(points, round_ticks(0.0, slowest), round_ticks(low, high))


def _dominates(other: Evaluation, done: Evaluation) -> bool:
    """Whether nothing speaks for a program beside another, by score and time."""
    worse = other.mean >= done.mean and other.seconds <= done.seconds
    return worse and (other.mean > done.mean or other.seconds < done.seconds)


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Push labels up until none covers another."""
    places: dict[str, float] = {}
    for name in sorted(heights, key=lambda name: heights[name]):
        below = max(places.values(), default=-1.0)
        places[name] = max(heights[name], below + LABEL_GAP)
    return places


def word_differences(before: str, after: str) -> tuple[DiffPiece, ...]:
    """What a text lost and gained, word by word."""
    old, new = before.split(" "), after.split(" ")
    pieces: list[DiffPiece] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(("same", " ".join(old[a:b])))
        else:
            gone, come = " ".join(old[a:b]), " ".join(new[c:d])
            pieces += [("gone", gone)] if gone else []
            pieces += [("new", come)] if come else []
    return tuple(pieces)


def _said(trial: Trial) -> str:
    knobs = trial.knobs
    shown = ", ".join(f"{name} {weight:g}" for name, weight in knobs.weights.items())
    return f"{trial.score:.3f}: {knobs.fusion}, {shown}"


def _alike(knobs: KnobValues, chosen: KnobValues, reader: Sequence[str]) -> bool:
    """Whether two settings score alike, whatever the reader gets of it by the names in `reader`."""
    return knobs.replaced(**{name: getattr(chosen, name) for name in reader}) == chosen
