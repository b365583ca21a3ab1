"""Chooses among the compared programs by their dev scores, and decides by test what to ship.

Dev questions are few, so that two programs with the same prompts often differ by less than chance
would. How well they rank passages is then the better witness: it was measured on train and dev
together. Dev also names, before any test question is answered, the one cheaper program that may be
shipped in the place of the chosen one: test questions decide between these and the baseline alone.
Knows nothing of how programs are built or judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ragwright.optimize.prompts.state import Prompts
from ragwright.optimize.result import BASELINE, BOTH, KNOBS_ONLY, PROMPTS_ONLY, START, Variant
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.statistics import (
    Gain,
    Verdict,
    clearly_below,
    holm_correction,
    paired_gain,
)
from ragwright.optimize.setting import Setting

LESS = 0.95
"""A program is cheaper if it takes less than this share of another's tokens: what replies differ by
from run to run is no saving."""
SIGNIFICANT = 0.05
SHARE_OF_SCORE = 0.1
"""As good is never said of a loss of more than this share of the score, whatever the margin: where
scores are near 0, a margin of 0.01 would call anything as good."""


def variants_to_compare(
    baseline: Setting, start: Setting, best: Setting, learned: Prompts
) -> list[Variant]:
    """Return the names of the compared programs, from the least changed to the most."""
    started = [Variant(START, start)] if start != baseline else []
    return [
        Variant(BASELINE, baseline),
        *started,
        Variant(KNOBS_ONLY, best),
        Variant(PROMPTS_ONLY, baseline, learned),
        Variant(BOTH, best, learned),
    ]


def choose_program(
    variants: Sequence[Variant],
    dev: Mapping[str, Evaluation],
    ranking: Callable[[Setting], float],
) -> Variant:
    """Return the variant to take, from the least changed to the most; of equals the first.

    Args:
        variants: What was compared.
        dev: Every variant's answers to the dev questions, by name.
        ranking: How well knobs rank passages; NaN where no question has a label.

    Returns:
        The best on dev, or one with the same prompts that ranks passages better, is no dearer, and
        whose mean is less than one standard error of the paired differences below.
    """
    best = max(variants, key=lambda item: dev[item.name].mean)
    rivals = [
        item
        for item in variants
        if item.prompts is best.prompts
        and not clearly_below(dev[item.name].scores, dev[best.name].scores)
    ]
    better = max(rivals, key=lambda item: ranking(item.setting))
    dearer = dev[better.name].tokens > dev[best.name].tokens / LESS
    worse = dev[better.name].mean < dev[best.name].mean
    ranks_better = ranking(better.setting) > ranking(best.setting)
    return better if ranks_better and not (worse and dearer) else best


def cheaper_equal(
    variants: Sequence[Variant], chosen: Variant, dev: Mapping[str, Evaluation]
) -> Variant | None:
    """Return the cheapest program that is as good on dev as the chosen one, if there is one.

    As good: better, or worse by no more than one standard error of the paired differences. The
    baseline is none of them, and where nothing was better than it, a cheaper one stands for it.
    """
    rivals = [
        item
        for item in variants
        if item.name not in (BASELINE, chosen.name)
        and dev[item.name].tokens < LESS * dev[chosen.name].tokens
        and not clearly_below(dev[item.name].scores, dev[chosen.name].scores)
    ]
    return min(rivals, key=lambda item: dev[item.name].tokens, default=None)


@dataclass(frozen=True)
class ShipDecision:
    """What to ship, as the test questions decide it.

    Attributes:
        variant: What is to be shipped, if anything is.
        verdict: Whether it is.
        why: In a sentence, where it is not the variant chosen on dev or not simply better.
    """

    variant: Variant
    verdict: Verdict
    why: str = ""


def decide_shipping(
    chosen: Variant,
    other: Variant | None,
    test: Mapping[str, Evaluation],
    *,
    variants: Sequence[Variant],
    margin: float,
    seed: int = 0,
) -> ShipDecision:
    """Say what to ship: the chosen program, the cheaper one that dev named beside it, or nothing.

    The chosen one must be better than the baseline, and than the cheaper one too, each as `Gain`
    has it proven; else the cheaper one is shipped if it is better than the
    baseline. Where neither is, one that takes fewer tokens than the baseline is shipped if it is
    not worse by more than `margin` at that end.

    What another program beats with fewer tokens is never shipped. That one, which test questions
    name, is shipped if it is better than the baseline with its p corrected for all programs that
    were measured (Holm); else nothing is.

    Args:
        chosen: The program that dev chose.
        other: The cheaper one that is as good on dev, if there is one; no matter if a cap left it
            out of the test.
        test: Answers to the test questions; all programs that were measured.
        variants: All programs, to find what another name stands for.
        margin: The loss that fewer tokens are worth.
        seed: Of the resampling.
    """
    if other is not None and other.name not in test:
        other = None
    pair = [chosen] if other is None else [chosen, other]
    named = [item for item in pair if item.name != BASELINE]
    proven = [item for item in named if compare_on_test(test, BASELINE, item.name, seed).proven]
    best = proven[0] if proven else None
    if other is not None and best is chosen and _takes_its_place(other, chosen, test, proven, seed):
        best = other
    if best is not None and (rival := _dominating(best, test)):
        holds = _corrected(test, seed)[rival] <= SIGNIFICANT
        why = _beaten(best, rival, test, holds=holds)
        if not holds:
            return ShipDecision(best, "keep the baseline", why)
        (found,) = (item for item in variants if item.name == rival)
        return ShipDecision(found, "ship the cheaper one", why)
    if best is not None:
        why = "" if best is chosen else _why(best, chosen, test)
        return ShipDecision(best, "ship" if best is chosen else "ship the cheaper one", why)
    spared = [item for item in named if _spares(item, test, margin, seed)]
    if spared:
        best = min(spared, key=lambda item: test[item.name].tokens)
        why = _why(best, Variant(BASELINE, best.setting), test)
        return ShipDecision(best, "ship the cheaper one", why)
    return ShipDecision(chosen, "keep the baseline")


def compare_on_test(test: Mapping[str, Evaluation], before: str, after: str, seed: int) -> Gain:
    """Compare two programs on the same questions."""
    one, other = test[before], test[after]
    return paired_gain(one.scores, other.scores, groups=one.groups, seed=seed)


def _takes_its_place(
    other: Variant,
    chosen: Variant,
    test: Mapping[str, Evaluation],
    proven: Sequence[Variant],
    seed: int,
) -> bool:
    """Whether the cheaper program is shipped: better, or as surely better than the baseline."""
    if test[other.name].tokens >= test[chosen.name].tokens:
        return False
    if test[other.name].mean >= test[chosen.name].mean:
        return True
    return other in proven and not compare_on_test(test, other.name, chosen.name, seed).proven


def _spares(one: Variant, test: Mapping[str, Evaluation], margin: float, seed: int) -> bool:
    """Whether a program takes fewer tokens than the baseline and is not worse than it."""
    base = test[BASELINE]
    slack = min(margin, SHARE_OF_SCORE * base.mean)
    gain = compare_on_test(test, BASELINE, one.name, seed)
    return (test[one.name].tokens < LESS * base.tokens and gain.low > -slack
            and _dominating(one, test) is None)  # fmt: skip


def _dominating(one: Variant, test: Mapping[str, Evaluation]) -> str | None:
    """The name of a program that is better than this one and cheaper, if one was measured."""
    own = test[one.name]
    better = [name for name, done in test.items()
              if done.mean > own.mean and done.tokens < own.tokens]  # fmt: skip
    return max(better, key=lambda name: test[name].mean, default=None)


def _corrected(test: Mapping[str, Evaluation], seed: int) -> dict[str, float]:
    """The p of every program's gain over the baseline, corrected for their number."""
    named = [name for name in test if name != BASELINE]
    return holm_correction({name: compare_on_test(test, BASELINE, name, seed).p for name in named})


def _beaten(best: Variant, rival: str, test: Mapping[str, Evaluation], *, holds: bool) -> str:
    """Say which program beats the one that dev led to, and whether that one's gain holds."""
    one, other = test[best.name], test[rival]
    what = (
        f"{rival!r} answers better than {best.name!r} ({other.mean:.3f} and {one.mean:.3f}) with "
        f"fewer tokens ({other.tokens:.0f} and {one.tokens:.0f}). Its gain "
    )
    if holds:
        return what + "holds when corrected for all programs that were compared."
    return what + (
        "does not hold when corrected for all programs that were compared, so that neither is "
        "shipped: more questions would tell them apart."
    )


def _why(cheaper: Variant, other: Variant, test: Mapping[str, Evaluation]) -> str:
    one, dear = test[cheaper.name], test[other.name]
    return (
        f"{cheaper.name!r}, which dev had named beside it, takes {one.tokens:.0f} tokens an answer "
        f"where {other.name!r} takes {dear.tokens:.0f}; it scores {one.mean:.3f}, that one "
        f"{dear.mean:.3f}."
    )
