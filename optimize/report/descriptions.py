"""Says in words what a candidate does and what a compile found.

A candidate in a line, such as "both: hybrid .25/.25/.5 k=5, 4 demos", since people choose among
many; a verdict in sentences. Knows nothing of where these are shown.
"""

from __future__ import annotations

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.result import (
    BASELINE,
    BOTH,
    KNOBS_ONLY,
    PROMPTS_ONLY,
    START,
    CompileResult,
)
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


def describe_verdict(result: CompileResult) -> str:
    """Say what was found, on how many questions, how sure it is, and what needs no compile."""
    gain, sentences = result.gain, [_measured(result)]
    if result.chosen != BASELINE and gain.low <= 0:
        sentences.append(
            f"That interval does not lie above 0; with so many questions a gain of "
            f"{gain.detectable:.3f} would have shown 4 times out of 5."
            if gain.detectable
            else "No question was answered better or worse."
        )
    if result.chosen != BASELINE and gain.low > 0 and not gain.proven:
        sentences.append(
            f"That interval lies above 0, but answers to {gain.wins + gain.losses} questions "
            "differ, and so few come out like this by chance too often (p above 0.05)."
        )
    if (untuned := result.over_start) is not None:
        sentences.append(
            f"The knobs that the recipe has, untuned ({START!r}), score "
            f"{result.test[START].mean:.3f}: the gain over them is {untuned.gain:+.3f} "
            f"({untuned.low:+.3f} to {untuned.high:+.3f})."
        )
    return " ".join([*sentences, result.why]).strip()


def _measured(result: CompileResult) -> str:
    gain = result.gain
    if result.chosen == BASELINE:
        return (
            f"No program answered the dev questions better than the baseline, which scores "
            f"{result.baseline.mean:.3f} on {gain.n} test questions: nothing was compiled from it."
        )
    return (
        f"On {gain.n} test questions that took no part in tuning, {result.chosen!r} scores "
        f"{result.compiled.mean:.3f} and the baseline {result.baseline.mean:.3f}: "
        f"{gain.gain:+.3f} (95 % interval {gain.low:+.3f} to {gain.high:+.3f}, p = {gain.p:.4f}); "
        f"better on {gain.wins} questions, worse on {gain.losses}."
    )
