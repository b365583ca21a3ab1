"""Puts learned sources into a copy of a program, and takes unused ones out again.

Knows nothing of how sources were learned or of which are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
import numpy as np

from ragwright.optimize.retrieval.crossfit import CrossFitted
from ragwright.optimize.setting import Setting
from ragwright.programs.anatomy import copy_program, knobs_of, stages_of
from ragwright.programs.learned import KnownQuestions

CrossFittedSources = Mapping[str, tuple[CrossFitted[Any], ...]]
"""By the place of the knobs that hold them."""


def with_learned_sources(
    program: dspy.Module, sources: CrossFittedSources, *, whole: bool
) -> dspy.Module:
    """Return a program that searches by sources too; the program itself where there are none.

    Args:
        program: Stays as it is.
        sources: What was learned.
        whole: Whether to take what all folds taught, as for questions nothing was learned from.
    """
    if not sources:
        return program
    twin = copy_program(program)
    leaves = knobs_of(twin)
    for place, parts in sources.items():
        leaves[place].learn(*(part.whole if whole else part for part in parts))
    return twin


def takes_learned_sources(program: dspy.Module, place: str) -> bool:
    """Whether the stage at a place asks the learned sources that its knobs hold."""
    probe = KnownQuestions((), np.zeros((0, 1), dtype=np.float16), (), ())
    twin = copy_program(program)
    knobs_of(twin)[place].learn(probe)
    return probe.signal in stages_of(twin)[place][0].signals


def drop_unweighted_sources(program: dspy.Module, setting: Setting) -> None:
    """Take out of a program the learned sources that a setting gives no weight."""
    leaves = knobs_of(program)
    for place, values in setting.items():
        leaf = leaves[place]
        leaf.learn(*(part for part in leaf.learned if values.weight(part.signal.name)))


def weighted_fingerprints(sources: CrossFittedSources, setting: Setting) -> list[str]:
    """The fingerprints of the sources that a setting gives a weight."""
    return [
        part.fingerprint
        for place, parts in sources.items()
        for part in parts
        if setting[place].weight(part.signal.name)
    ]
