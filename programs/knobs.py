"""The retrieval numbers of a program, as one DSPy parameter that is saved with its state.

Comes in: numbers from a recipe, a state file or the tuner. Goes out: `KnobValues`, frozen and
checked. `Knobs` is the leaf through which a program holds them; optimizers of prompts leave it
alone, `optimize/` tunes it. Knows nothing of how the numbers are used: see `selection.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import dspy
from dspy.predict.parameter import Parameter
from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ragwright.programs.signals import DEPTH, NAME, WEIGHT, Signal, signals_by_name
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.settings import Settings, describe_setting_errors

POOL_DEPTH = 100
"""How many candidates each source is asked for, whatever the knobs say.

An approximate index asked for 10 need not return the first 10 of what it returns when asked for
100. A fixed depth, cut afterwards, is what makes a replayed pool equal to a live search.
"""

LARGEST_K = 50
"""How many passages may come out of a stage."""

START = 0.5
"""What a part weighs from the start: as much as dense and BM25 search, each."""

_HINT = "Correct or remove it; `rag show` lists every knob with its range."

MOST_NEIGHBOURS = 2
"""How many chunks to either side of a passage a pool knows of."""

ADDED_LATER: frozenset[str] = frozenset()
"""Knobs that states of earlier releases do not hold; in those they stand at their defaults."""

LEARNED = ("questions", "adapter", "ranker")
"""What a compile can learn; see `programs/learned`."""

_HELD = "ragwright_knobs"

Fusion = Literal["rrf", "convex"]
Order = Literal["rank", "document", "edges"]


class KnobValues(Settings):
    """Every number that retrieval depends on, with its range and default.

    Besides those below there are those that parts declare (see `signals.py`): the weight of each
    reranker's signal, `weight_NAME`, from 0, which switches it off, to 1; the depth of each source,
    `depth_NAME`; and numbers of their own, `NAME.NUMBER`, in TOML a table inside `[knobs]`. A
    weight of 0 is the same as none.

    Attributes:
        weight_dense: Weight of the cosine between question and passage vectors.
        weight_bm25: Weight of the BM25 score.
        fusion: "rrf" adds reciprocal ranks, "convex" adds scaled scores.
        rrf_constant: The constant of reciprocal rank fusion.
        depth_dense: How many dense candidates take part.
        depth_bm25: How many BM25 candidates take part.
        rerank_depth: How many fused candidates a reranker scores.
        k: How many passages come out.
        score_threshold: Passages under this share of the best one's score are dropped.
        diversity: From 0, scores alone, to 1: how much a passage loses by being like one before it.
        context_tokens: Tokens that the numbered passages may fill in the prompt.
        neighbours: How many chunks before and after a packed passage in its document are added to
            it, as far as `context_tokens` leaves room.
        order: How passages stand in the prompt: "rank" best first, "document" as they stand in
            their documents, "edges" with the best at both ends.
        abstain_below: A program that may abstain does so when it is less sure than this.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float] = Field(init=False)

    weight_dense: float = Field(default=0.5, ge=0, le=1)
    weight_bm25: float = Field(default=0.5, ge=0, le=1)
    fusion: Fusion = "convex"
    rrf_constant: int = Field(default=60, ge=1, le=1000)
    depth_dense: int = Field(default=POOL_DEPTH, ge=1, le=POOL_DEPTH)
    depth_bm25: int = Field(default=POOL_DEPTH, ge=1, le=POOL_DEPTH)
    rerank_depth: int = Field(default=POOL_DEPTH, ge=1, le=2 * POOL_DEPTH)
    k: int = Field(default=5, ge=1, le=LARGEST_K)
    score_threshold: float = Field(default=0.0, ge=0, le=1)
    diversity: float = Field(default=0.0, ge=0, le=1)
    context_tokens: int = Field(default=2000, ge=64, le=200_000)
    neighbours: int = Field(default=0, ge=0, le=MOST_NEIGHBOURS)
    order: Order = "rank"
    abstain_below: float = Field(default=0.5, ge=0, le=1)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A weight that is not set is 0, of whichever signal."""
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name.startswith(WEIGHT):
                    return 0.0
                raise

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        """Take `{"recency": {"half_life": 30}}` as `{"recency.half_life": 30}`."""
        if not isinstance(values, Mapping):
            return values
        flat: dict[str, Any] = {}
        for name, value in values.items():
            inner = value.items() if isinstance(value, Mapping) else ()
            flat |= {f"{name}.{key}": number for key, number in inner} if inner else {name: value}
        return flat

    @model_validator(mode="after")
    def _declared_are_shaped(self) -> KnobValues:
        extra = self.__pydantic_extra__
        for name, value in extra.items():
            _check_shape(name, value)
        kept = {key: extra[key] for key in sorted(extra) if extra[key] or "." in key}
        extra.clear()
        extra.update(kept)
        return self

    @model_validator(mode="after")
    def _some_source(self) -> KnobValues:
        if not any(self.weight(name) for name in self.sources):
            raise ValueError("weight_dense and weight_bm25 are both 0, so nothing is retrieved")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every signal that has one, by the signal's name."""
        found = {name.removeprefix(WEIGHT): value for name, value in self.numbers.items()
                 if name.startswith(WEIGHT)}  # fmt: skip
        return {name: value for name, value in found.items() if value}

    def weighing(self, *signals: Signal) -> KnobValues:
        """Return a copy in which all other signals weigh nothing.

        Raises:
            InputError: No source has a weight then.
        """
        kept = {signal.name for signal in signals}
        return self.replaced(**{WEIGHT + name: 0.0 for name in self.weights if name not in kept})

    def starting(self, *signals: Signal) -> KnobValues:
        """Return a copy in which those of these signals that weigh nothing weigh `START`."""
        new = [signal for signal in signals if not self.weight(signal.name)]
        depths = {one.depth: self.get(one.depth, POOL_DEPTH) for one in new if one.source}
        return self.replaced(**{one.weight: START for one in new}, **depths) if new else self

    @property
    def numbers(self) -> dict[str, float]:
        """Every knob that is a number, by name, those that parts declare included."""
        return {name: value for name, value in self if isinstance(value, int | float)}

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the signals that have a depth, and so find candidates."""
        return tuple(name.removeprefix(DEPTH) for name, _ in self if name.startswith(DEPTH))

    def names(self, *others: KnobValues) -> list[str]:
        """The names of all knobs that these or others set, for a table with a row for each."""
        return list(dict.fromkeys(name for values in (self, *others) for name, _ in values))

    def weight(self, signal: str) -> float:
        """The weight of a signal; 0 where it has none."""
        return float(self.get(WEIGHT + signal, 0.0))

    def depth(self, source: str) -> int:
        """How many candidates of a source take part."""
        return int(self.get(DEPTH + source, 50))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a knob, also of one that a part declares; the default where it is unset."""
        return getattr(self, name, default)

    @classmethod
    def dense(cls, k: int = 5) -> KnobValues:
        """Plain vector search, the usual starting point: the k nearest passages."""
        return cls(weight_dense=1.0, weight_bm25=0.0, k=k)

    @classmethod
    def checked(cls, values: object, signals: Iterable[Signal] | None = None) -> KnobValues:
        """Validate values from outside, such as a state file or a recipe.

        Args:
            values: A mapping of knobs.
            signals: What a program weighs: knobs of other parts are refused. None allows them all.

        Raises:
            InputError: An unknown knob, a wrong type or a value out of range.
        """
        try:
            found = cls.model_validate(values, strict=True)
        except ValidationError as error:
            raise InputError(
                f"Wrong retrieval knobs: {describe_setting_errors(error)}.", hint=_HINT
            ) from error
        if signals is not None:
            check_declared(found, signals)
        return found

    def replaced(self, **values: Any) -> KnobValues:
        """Return a copy with these values changed and everything checked again."""
        kept = self.model_dump()
        said = dict.fromkeys(self.model_fields_set - kept.keys(), 0.0)  # weights of 0
        return KnobValues.checked({**said, **kept, **values})


def check_declared(values: KnobValues, signals: Iterable[Signal]) -> None:
    """Make sure that parts declare the knobs that `KnobValues` does not, and their ranges.

    Raises:
        InputError: A weight, depth or number that no part declares, or one out of its range.
    """
    declared = signals_by_name(signals)
    known = {name for signal in declared.values() for name in signal.knobs}
    extra = values.__pydantic_extra__
    if unknown := [name for name in extra if name not in known]:
        weighed = ", ".join(sorted(known)) or "none"
        raise InputError(
            f"Wrong retrieval knobs: {unknown[0]} (got {extra[unknown[0]]:g}) belongs to no part "
            "of the program.",
            hint=f"Parts declare: {weighed}.",
        )
    for signal in declared.values():
        for number in signal.numbers:
            value = extra.get(signal.knob(number), number.default)
            if not number.low <= value <= number.high:
                raise InputError(
                    f"Wrong retrieval knobs: {signal.knob(number)} is {value:g}, but goes from "
                    f"{number.low:g} to {number.high:g}.",
                    hint=_HINT,
                )


def _check_shape(name: str, value: float) -> None:
    """Make sure that a knob of a part is called and bounded like one."""
    if name.startswith(WEIGHT) and NAME.fullmatch(name.removeprefix(WEIGHT)):
        low, high = 0.0, 1.0
    elif name.startswith(DEPTH) and NAME.fullmatch(name.removeprefix(DEPTH)):
        low, high = 1.0, float(POOL_DEPTH)
    elif "." in name and all(NAME.fullmatch(part) for part in name.split(".", 1)):
        return
    else:
        raise _wrong(name, value, "Extra inputs are not permitted")
    if not low <= value <= high:
        raise _wrong(name, value, f"goes from {low:g} to {high:g}")


def _wrong(name: str, value: float, why: str) -> PydanticCustomError:
    facts = {"knob": name, "why": why, "value": value}
    return PydanticCustomError("knob", "{why} (got {value})", facts)


@contextmanager
def hold_knobs(values: Mapping[str, KnobValues]) -> Iterator[None]:
    """Let these values hold inside, by the place of their `Knobs`, in whatever copy of a program.

    A tool of an agent may refer to a stage that no copy of the program can replace: the tuner
    therefore never sets knobs on the way.
    """
    with dspy.context(**{_HELD: dict(values)}):
        yield


class LearnedState(Protocol):
    """What knobs hold beside their values."""

    @property
    def signal(self) -> Signal:
        """What its scores are called."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that it knows."""
        ...


class Knobs(Parameter):
    """The leaf of a `dspy.Module` that holds its `KnobValues` and saves them with the state.

    One instance is shared by all the stages of a program. Stages declare the signals that they
    weigh, so that the state holds a weight for each, and for no other.

    Attributes:
        place: Where it stands in a program that is being compiled: "search.knobs", say.
        learned: Further sources, and a ranker, that a compile learned; an artifact keeps them in
            files.
    """

    def __init__(self, values: KnobValues | None = None) -> None:
        self.place = ""
        self.signals: tuple[Signal, ...] = ()
        self.learned: tuple[LearnedState, ...] = ()
        self._values = values or KnobValues()

    @property
    def values(self) -> KnobValues:
        """What holds now: in a block of `hold_knobs`, what that says of this place."""
        held: Mapping[str, KnobValues] | None = dspy.settings.get(_HELD) if self.place else None
        return self._values if held is None else held.get(self.place, self._values)

    @values.setter
    def values(self, values: KnobValues) -> None:
        self._values = values

    def declare(self, *signals: Signal) -> None:
        """Say which signals the stages that share it weigh, besides the sources of every index.

        Raises:
            InputError: Two different ones have one name.
        """
        self.signals = tuple(signals_by_name([*self.signals, *signals]).values())

    def learn(self, *parts: LearnedState) -> None:
        """Search and rank by these learned parts too, in the place of those before.

        Raises:
            InputError: One has the name of another signal.
        """
        before = {part.signal for part in self.learned}
        self.signals = tuple(signal for signal in self.signals if signal not in before)
        self.learned = parts
        self.declare(*(part.signal for part in parts))

    def reset(self) -> None:
        """Keep the values: optimizers call this to forget demonstrations, not retrieval."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return the values as plain JSON types, for `dspy.Module.save`."""
        return {**dict.fromkeys(self._weights(), 0.0), **self._values.model_dump(mode="json")}

    def load_state(self, state: object) -> None:
        """Take values from a state file.

        Raises:
            InputError: An unknown knob, a missing one, a wrong type or a value out of range.
        """
        values = KnobValues.checked(state)
        wanted = {*KnobValues.model_fields, *self._weights()} - ADDED_LATER
        missing = wanted - set(state if isinstance(state, Mapping) else ())
        if missing:
            raise InputError(
                f"The state lacks the knobs {', '.join(sorted(missing))}.",
                hint="Restore the file it is from, or compile again.",
            )
        self._check_learned(values)
        self.values = values

    def _check_learned(self, values: KnobValues) -> None:
        """Make sure that every learned part with a weight is there."""
        there = {part.signal.name for part in self.learned}
        missing = [name for name in LEARNED if values.weight(name) and name not in there]
        if missing:
            raise InputError(
                f"The state weighs what was learned as {missing[0]!r}, which is not there.",
                hint="DSPy's own save leaves it out: use ragwright's `save` and `load`.",
            )

    def _weights(self) -> list[str]:
        return [signal.weight for signal in self.signals]
