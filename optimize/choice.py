"""Which programs are compared; their dev scores in, the one to take out.

Dev questions are few, so that two programs with the same prompts often differ by less than chance
would. How well they rank passages is then the better witness: it was measured on train and dev
together. Knows nothing of how programs are built or judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ragwright.optimize.result import BASELINE, BOTH, KNOBS_ONLY, PROMPTS_ONLY, START, Variant
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.scoring.statistics import standard_error
from ragwright.programs.knobs import KnobValues
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe


def compared(recipe: Recipe, best: KnobValues, learned: RAG) -> list[Variant]:
    """Return what is compared, from the least changed to the most."""
    start = [Variant(START, recipe.knobs)] if recipe.knobs != recipe.baseline else []
    return [
        Variant(BASELINE, recipe.baseline),
        *start,
        Variant(KNOBS_ONLY, best),
        Variant(PROMPTS_ONLY, recipe.baseline, learned),
        Variant(BOTH, best, learned),
    ]


def choose(
    variants: Sequence[Variant],
    dev: Mapping[str, Evaluation],
    ranking: Callable[[KnobValues], float],
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
        if item.teacher is best.teacher and not _below(dev[item.name], dev[best.name])
    ]
    better = max(rivals, key=lambda item: ranking(item.knobs))
    return better if ranking(better.knobs) > ranking(best.knobs) else best


def _below(one: Evaluation, best: Evaluation) -> bool:
    """Tell whether an evaluation is worse by more than one standard error."""
    differences = best.scores - one.scores
    return float(differences.mean()) > standard_error(differences)
