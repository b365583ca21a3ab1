"""Names a candidate by what it does, in a line, where people choose among many.

Such as "both: hybrid .25/.25/.5 k=5, 4 demos". Knows nothing of where the names are shown.
"""

from __future__ import annotations

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.result import BASELINE, BOTH, KNOBS_ONLY, PROMPTS_ONLY
from ragwright.optimize.setting import Setting, short_stage_name
from ragwright.programs.knobs import KnobValues
from ragwright.programs.signals import WEIGHT

_SHORTER = {KNOBS_ONLY: "knobs", PROMPTS_ONLY: "prompts", BOTH: "both", BASELINE: "baseline"}
LONGEST = 250
"""Characters that a name may have; MLflow takes no more."""


def describe_candidate(candidate: Candidate) -> str:
    """Say where a candidate comes from, how it retrieves and what it shows the language model."""
    what = _SHORTER.get(candidate.name, candidate.name)
    demos = f", {candidate.demos} demo{'s' * (candidate.demos != 1)}" if candidate.demos else ""
    return f"{what}: {describe_setting(candidate.setting)}{demos}"[:LONGEST]


def describe_setting(setting: Setting) -> str:
    """Say how a program retrieves; several stages by their names."""
    if len(setting) == 1:
        return describe_knobs(setting.first)
    return "; ".join(
        f"{short_stage_name(place)} {describe_knobs(values)}" for place, values in setting.items()
    )


def describe_knobs(knobs: KnobValues) -> str:
    """Say which signals rank, by which weights, and what differs from the usual way of reading."""
    values = knobs.model_dump()
    weights = {
        name.removeprefix(WEIGHT): float(value)
        for name, value in values.items()
        if name.startswith(WEIGHT)
    }
    used = [name for name, value in weights.items() if value]
    way = "hybrid" if {"dense", "bm25"} <= set(used) else "+".join(used) or "nothing"
    if len(used) > 1:
        way += " " + "/".join(_digits(value) for value in weights.values())
    if knobs.fusion != "convex" and len(used) > 1:
        way += f" by {knobs.fusion}"
    return f"{way} k={knobs.k}{_reading(knobs)}"


def _reading(knobs: KnobValues) -> str:
    usual = KnobValues.dense()
    names = ("order", "neighbours", "diversity", "score_threshold")
    other = {name: getattr(knobs, name) for name in names}
    return "".join(
        f" {name}={value:g}" if isinstance(value, float) else f" {name}={value}"
        for name, value in other.items()
        if value != getattr(usual, name)
    )


def _digits(value: float) -> str:
    """Two digits at most, without the zero before the point: .25."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return text.removeprefix("0") if text.startswith("0.") else text
