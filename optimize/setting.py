"""The knobs of every stage of a program, as one frozen value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import dspy

from ragwright.programs.anatomy import knobs_of, stages_of
from ragwright.programs.knobs import KnobValues


@dataclass(frozen=True, slots=True)
class Setting(Mapping[str, KnobValues]):
    """What the knobs of a program are set to, by their place in it ("search.knobs").

    Attributes:
        stages: Place and values of each, in the order of the program.
    """

    stages: tuple[tuple[str, KnobValues], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, KnobValues]) -> Self:
        """Freeze a table."""
        return cls(tuple(values.items()))

    def __getitem__(self, place: str) -> KnobValues:
        return dict(self.stages)[place]

    def __iter__(self) -> Iterator[str]:
        return iter(place for place, _ in self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    @property
    def first(self) -> KnobValues:
        """The knobs of the first stage: all there is to a program of one."""
        return self.stages[0][1] if self.stages else KnobValues.dense()

    def having(self, place: str, values: KnobValues) -> Self:
        """Return a copy in which one stage has other values."""
        return self.of({**dict(self.stages), place: values})

    def dump(self) -> dict[str, dict[str, Any]]:
        """Return plain JSON types."""
        return {place: values.model_dump(mode="json") for place, values in self.stages}

    def flat(self) -> dict[str, Any]:
        """Return every number by name; names carry the place where there is more than one."""
        if len(self.stages) == 1:
            return self.first.model_dump()
        return {
            f"{short_stage_name(place)}.{name}": value
            for place, values in self.stages
            for name, value in values.model_dump().items()
        }


def short_stage_name(place: str) -> str:
    """What people call a stage: its place without the leaf's own name."""
    return place.removesuffix("knobs").rstrip(".") or place


def setting_of(program: dspy.Module) -> Setting:
    """Return the values of all knobs that belong to a stage."""
    leaves = knobs_of(program)
    return Setting.of({place: leaves[place].values for place in stages_of(program)})


def set_setting(program: dspy.Module, setting: Setting) -> None:
    """Set the knobs of every stage."""
    leaves = knobs_of(program)
    for place, values in setting.items():
        leaves[place].values = values


def flat_knobs(program: dspy.Module) -> dict[str, Any]:
    """Return every number of every stage by name, with the place where there is more than one."""
    leaves = knobs_of(program)
    states = {place: leaves[place].dump_state() for place in stages_of(program)}
    if len(states) == 1:
        return next(iter(states.values()))
    return {f"{short_stage_name(place)}.{name}": value for place, state in states.items()
            for name, value in state.items()}  # fmt: skip
