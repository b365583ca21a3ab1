"""Which programs are compared; their dev scores in, the one to take out.

Dev questions are few, so that two programs with the same prompts often differ by less than chance
would. How well they rank passages is then the better witness: it was measured on train and dev
together. What the test questions decide is fixed before they are answered: of programs that are as
good, the cheaper one is shipped. Knows nothing of how programs are built or judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ragwright.optimize.prompts.state import Prompts
from ragwright.optimize.result import BASELINE, BOTH, KNOBS_ONLY, PROMPTS_ONLY, START, Variant
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.scoring.statistics import Gain, Verdict, compare, standard_error
from ragwright.optimize.setting import Setting

LESS = 0.95
"""A program is cheaper if it takes less than this share of another's tokens."""
SHARE_OF_SCORE = 0.1
"""As good is never said of a loss of more than this share of the score, whatever the margin."""


def compared(baseline: Setting, start: Setting, best: Setting, learned: Prompts) -> list[Variant]:
    """Return what is compared, from the least changed to the most."""
    started = [Variant(START, start)] if start != baseline else []
    return [
        Variant(BASELINE, baseline),
        *started,
        Variant(KNOBS_ONLY, best),
        Variant(PROMPTS_ONLY, baseline, learned),
        Variant(BOTH, best, learned),
    ]


def choose(
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
        The best on dev, or one with the same prompts that ranks passages better and whose mean
        is less than one standard error of the paired differences below.
    """
    best = max(variants, key=lambda item: dev[item.name].mean)
    rivals = [
        item
        for item in variants
        if item.prompts is best.prompts and not _below(dev[item.name], dev[best.name])
    ]
    better = max(rivals, key=lambda item: ranking(item.setting))
    return better if ranking(better.setting) > ranking(best.setting) else best


@dataclass(frozen=True)
class Decision:
    """What the test questions decide.

    Attributes:
        variant: What is to be shipped, if anything is.
        verdict: Whether it is.
        why: In a sentence, where it is not the variant chosen on dev or not simply better.
    """

    variant: Variant
    verdict: Verdict
    why: str = ""


def settled(
    variants: Sequence[Variant],
    chosen: Variant,
    test: Mapping[str, Evaluation],
    *,
    margin: float,
    seed: int = 0,
) -> Decision:
    """Say what to ship: the chosen program, one that is as good for fewer tokens, or none.

    Nothing is shipped for its score on test alone. Another program takes the chosen one's place
    only if it is cheaper, and better, or not worse by more than `margin` at the lower end of the
    paired 95 % interval. A program that is worse and dearer than another is never shipped.
    """
    measured = [item for item in variants if item.name in test]
    rivals = [item for item in measured if item.name not in (BASELINE, chosen.name)
              and _as_good(test[item.name], test[chosen.name], margin, seed)]  # fmt: skip
    gains = {item.name: against(test, BASELINE, item.name, seed) for item in (chosen, *rivals)}
    proven, score = gains[chosen.name].proven, test[chosen.name].mean
    better = [item for item in (chosen, *rivals)
              if gains[item.name].proven or (proven and test[item.name].mean > score)]  # fmt: skip
    if better:
        best = min(better, key=lambda item: test[item.name].tokens)
        if best is chosen:
            return Decision(chosen, "ship")
        return Decision(best, "ship the cheaper one", _why(best, chosen, test))
    base = test[BASELINE]
    slack = min(margin, SHARE_OF_SCORE * base.mean)
    spared = [item for item in (chosen, *rivals) if gains[item.name].low > -slack
              and test[item.name].tokens < LESS * base.tokens]  # fmt: skip
    if not spared:
        return Decision(chosen, "keep the baseline")
    best = min(spared, key=lambda item: test[item.name].tokens)
    return Decision(best, "ship the cheaper one", _why(best, variants[0], test))


def against(test: Mapping[str, Evaluation], before: str, after: str, seed: int) -> Gain:
    """Compare two programs on the same questions."""
    one, other = test[before], test[after]
    return compare(one.scores, other.scores, groups=one.groups, seed=seed)


def _as_good(one: Evaluation, chosen: Evaluation, margin: float, seed: int) -> bool:
    """Whether a program is cheaper than the chosen one and as good."""
    if one.tokens >= chosen.tokens:
        return False
    if one.mean > chosen.mean:
        return True
    gain = compare(chosen.scores, one.scores, groups=one.groups, seed=seed)
    return one.tokens < LESS * chosen.tokens and gain.low > -min(margin, SHARE_OF_SCORE * one.mean)


def _why(cheaper: Variant, other: Variant, test: Mapping[str, Evaluation]) -> str:
    one, dear = test[cheaper.name], test[other.name]
    return (
        f"{cheaper.name!r} answers as well as {other.name!r} ({one.mean:.3f} and {dear.mean:.3f}) "
        f"with {one.tokens:.0f} tokens an answer instead of {dear.tokens:.0f}."
    )


def _below(one: Evaluation, best: Evaluation) -> bool:
    """Tell whether an evaluation is worse by more than one standard error."""
    differences = best.scores - one.scores
    return float(differences.mean()) > standard_error(differences)
