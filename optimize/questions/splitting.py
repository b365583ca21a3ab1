"""Splits questions into train, dev and test: at random, by group, or in order of time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

import numpy as np

from ragwright.optimize.questions.data import SIDES, Question, Side, Splits
from ragwright.programs.sections import DataSection
from ragwright.retrievers.errors import CompileError, InputError
from ragwright.retrievers.text.numbers import count_with_noun
from ragwright.retrievers.types import content_hash

SplitBy = Literal["document", "question", "time"]
MINIMUM: dict[Side, int] = {"train": 8, "dev": 8, "test": 20}
"""Fewer questions than these on a side, and nothing could be learned or shown."""
DEFAULT_SHARES = (0.4, 0.2)
"""Of train and dev, where a recipe names none."""
_FEW = 200
"""Questions from which on the first order leaves every side enough, or none does."""
_ORDERS = 50


def split(
    questions: Sequence[Question], *, train: float, dev: float, seed: int, by: SplitBy = "document"
) -> Splits:
    """Divide the questions into three sides, as the future is expected to come.

    A `split` given on every line is kept as it is. Otherwise, by "document", whole groups are dealt
    out, in an order drawn from `seed`, each to the side that is furthest below its share: no group
    stands on two sides, and test asks about documents that nothing was learned of. By "question",
    every question is dealt out for itself: test comes back to the same documents. By "time", the
    earliest are train and the latest test.

    Where a side would have fewer than `MINIMUM`, other orders are tried; and where the shares are
    those of a recipe that names none, shares that leave test what it needs.

    Raises:
        InputError: Only some of the questions have a `split`, or, by "time", a `time`.
        CompileError: A side has fewer questions than `MINIMUM`.
    """
    given = sum(question.split is not None for question in questions)
    if given not in (0, len(questions)):
        raise InputError(
            f"{given} of {len(questions)} questions have a split.",
            hint="Give every question a split, or none of them.",
        )
    if given:
        dealt = _sides(questions, {question.id: question.split for question in questions})
    else:
        dealt = _dealt(questions, _shares(train, dev, len(questions)), seed, by)
    _check_sides(dealt, by=None if given else by)
    return splits_of(dealt)


def splits_of(sides: Mapping[Side, Sequence[Question]]) -> Splits:
    """Return the sides together; a question whose id another side has, too, gets one of its own.

    Rows of several files are often counted from 0 in each, and all that is kept of a question is
    kept by its id.
    """
    taken: set[str] = set()
    apart: dict[Side, tuple[Question, ...]] = {}
    for side in SIDES:
        own = {one.id for one in sides[side]}
        twice = taken & own
        apart[side] = tuple(
            _renamed(one, _free(f"{side}-{one.id}", taken | own)) if one.id in twice else one
            for one in sides[side]
        )
        taken |= own | {one.id for one in apart[side]}
    return Splits(apart["train"], apart["dev"], apart["test"], _shared(apart))


def _free(id: str, taken: Collection[str]) -> str:
    while id in taken:
        id += "-"
    return id


def _renamed(question: Question, id: str) -> Question:
    group = id if question.group == question.id else question.group
    example = question.example
    if example is not None:
        example = example.copy(id=id).with_inputs(*example.inputs().keys())
    return replace(question, id=id, group=group, example=example)


def _shares(train: float, dev: float, count: int) -> list[dict[Side, float]]:
    """The shares to try, one after the other."""
    found: list[dict[Side, float]] = [{"train": train, "dev": dev, "test": 1 - train - dev}]
    least = sum(MINIMUM.values())
    if (train, dev) == DEFAULT_SHARES and count >= least:
        train, dev = (MINIMUM[side] / count for side in ("train", "dev"))
        spare = (count - least) / count
        # What is left over goes to learning, or, where groups are large, to the test.
        for train_gets, dev_gets in ((spare / 2, spare / 2), (spare / 4, spare / 4), (0, 0)):
            more, other = train + train_gets, dev + dev_gets
            found.append({"train": more, "dev": other, "test": 1 - more - other})
    return found


def _dealt(
    questions: Sequence[Question], tried: Sequence[Mapping[Side, float]], seed: int, by: SplitBy
) -> dict[Side, list[Question]]:
    """Deal questions out, the first way that leaves every side enough; else the first of all."""
    orders = 1 if by == "time" or len(questions) >= _FEW else _ORDERS
    ways = (
        _sides(questions, assign_sides(questions, shares, seed, by, order=order))
        for shares in tried
        for order in range(orders)
    )
    first = next(ways)
    return next((one for one in chain([first], ways) if not _missing(one)), first)


def _sides(
    questions: Sequence[Question], chosen: Mapping[str, Side | None]
) -> dict[Side, list[Question]]:
    return {side: [one for one in questions if chosen[one.id] == side] for side in SIDES}


def _missing(sides: Mapping[Side, Sequence[Question]]) -> Side | None:
    """The first side that has too few questions, if one has."""
    return next((side for side, least in MINIMUM.items() if len(sides[side]) < least), None)


def _check_sides(sides: Mapping[Side, Sequence[Question]], *, by: SplitBy | None) -> None:
    """Raise if a side has too few; `by` is None where every question says its side itself."""
    short = _missing(sides)
    if short is None:
        return
    count, least = sum(map(len, sides.values())), sum(MINIMUM.values())
    needed = ", ".join(f"{number} {side}" for side, number in MINIMUM.items())
    groups = len({one.group for side in sides.values() for one in side})
    if count < least:
        hint = (
            f"A compile needs {least} questions ({needed}), and there are {count}; `rag questions` "
            "writes some from the documents, and `rag evaluate` and `rag study` measure with fewer."
        )
    elif by == "document":
        hint = (
            f"Questions of a group stand on one side, and these {count} form "
            f"{count_with_noun(groups, 'group')} (by the document that they name). Set split = "
            '"question" under [data], if questions to come are about the same documents; or group '
            "more finely, or change train and dev there."
        )
    else:
        hint = f"Change the sides: a compile needs {needed}."
    raise CompileError(
        f"Too few {short} questions: {len(sides[short])}, at least {MINIMUM[short]} are needed.",
        hint=hint,
    )


def split_refusal(questions: Sequence[Question], data: DataSection) -> str:
    """Say why a compile would refuse these questions; "" if it takes them."""
    try:
        split(questions, train=data.train, dev=data.dev, seed=data.seed, by=data.split)
    except (CompileError, InputError) as error:
        return str(error)
    return ""


def assign_sides(
    questions: Sequence[Question],
    shares: Mapping[Side, float],
    seed: int,
    by: SplitBy,
    *,
    order: int = 0,
) -> dict[str, Side]:
    """The side of every question, by its id; `shares` are of the sides to deal out to.

    Every `order` of a seed is another one.

    Raises:
        InputError: By time, and a question has none.
    """
    if by == "time":
        return _by_time(questions, shares)
    alone = [replace(one, group=one.id) if by == "question" else one for one in questions]
    chosen = deal_groups(alone, shares, f"{seed}" + f"-{order}" * bool(order))
    return {question.id: chosen[question.group] for question in alone}


def _by_time(questions: Sequence[Question], shares: Mapping[Side, float]) -> dict[str, Side]:
    """The earliest to train, the latest to test; of those asked at one time the first first."""
    ordered = sorted(questions, key=question_time)
    sides = list(shares)
    ends = np.cumsum(list(shares.values())) * len(ordered)
    return {
        question.id: sides[min(int(np.searchsorted(ends, place, side="right")), len(sides) - 1)]
        for place, question in enumerate(ordered)
    }


def question_time(question: Question) -> float:
    """Seconds since 1970; a date without a zone is taken as UTC.

    Raises:
        InputError: There is no time, or it is neither a number nor ISO 8601.
    """
    try:
        if math.isfinite(seconds := float(question.time)):
            return seconds
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(question.time)
    except ValueError as error:
        raise InputError(
            f"The question {question.id!r} has no time to split by (got {question.time!r}).",
            hint='Give every line a `time`, such as "2026-03-01" or seconds, or another split.',
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def deal_groups(
    questions: Sequence[Question], shares: Mapping[Side, float], seed: int | str
) -> dict[str, Side]:
    """Deal whole groups out to the sides, in an order drawn from `seed`; by group, its side.

    Each group goes to the side that is furthest below its share.
    """
    sizes: dict[str, int] = {}
    for question in questions:
        sizes[question.group] = sizes.get(question.group, 0) + 1
    missing = {side: share * len(questions) for side, share in shares.items()}
    chosen: dict[str, Side] = {}
    for group in sorted(sizes, key=lambda name: content_hash(str(seed), name)):
        side = max(shares, key=lambda name: missing[name] / shares[name])
        chosen[group] = side
        missing[side] -= sizes[group]
    return chosen


def _shared(sides: Mapping[Side, Sequence[Question]]) -> int:
    groups = [{question.group for question in questions} for questions in sides.values()]
    return sum(len(group) for group in groups) - len(set().union(*groups))
