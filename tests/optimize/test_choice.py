"""Which of the compared programs is taken, on scores that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping

from ragwright.optimize.choice import cheaper_equal, choose_program, decide_shipping
from ragwright.optimize.prompts.state import Prompts
from ragwright.optimize.result import BASELINE, BOTH, KNOBS_ONLY, PROMPTS_ONLY, Variant
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.optimize.setting import Setting
from ragwright.programs.knobs import KnobValues

DENSE, TUNED = (
    Setting((("knobs", knobs),)) for knobs in (KnobValues.dense(), KnobValues(weight_maxsim=0.5))
)
LEARNED: Prompts = {"respond": {}}
VARIANTS = [
    Variant(BASELINE, DENSE),
    Variant(KNOBS_ONLY, TUNED),
    Variant(PROMPTS_ONLY, DENSE, LEARNED),
    Variant(BOTH, TUNED, LEARNED),
]


def answered(*scores: float) -> Evaluation:
    return Evaluation(
        tuple(EvaluationRow(str(n), "?", ("!",), score=s) for n, s in enumerate(scores))
    )


def chosen(dev: Mapping[str, Evaluation], *, tuned: float = 0.7, dense: float = 0.5) -> str:
    return choose_program(VARIANTS, dev, lambda setting: tuned if setting == TUNED else dense).name


BAD = answered(0, 0, 0, 0, 0, 0, 0, 0)
GOOD = answered(1, 1, 1, 1, 1, 0, 1, 0)
NEARLY = answered(1, 1, 1, 1, 0, 0, 0, 1)
CLEARLY_WORSE = answered(1, 0, 0, 0, 0, 0, 0, 0)


def test_within_one_standard_error_the_better_ranking_decides() -> None:
    dev = {BASELINE: BAD, KNOBS_ONLY: BAD, PROMPTS_ONLY: GOOD, BOTH: NEARLY}
    assert chosen(dev) == BOTH
    assert chosen(dev, tuned=0.4) == PROMPTS_ONLY


def test_beyond_it_the_answers_decide() -> None:
    dev = {BASELINE: BAD, KNOBS_ONLY: BAD, PROMPTS_ONLY: GOOD, BOTH: CLEARLY_WORSE}
    assert chosen(dev) == PROMPTS_ONLY


def test_a_better_ranking_never_changes_the_prompts() -> None:
    dev = {BASELINE: GOOD, KNOBS_ONLY: BAD, PROMPTS_ONLY: BAD, BOTH: NEARLY}
    assert chosen(dev) == BASELINE


def test_without_labels_the_best_answers_win_and_of_equals_the_least_changed() -> None:
    dev = {BASELINE: BAD, KNOBS_ONLY: BAD, PROMPTS_ONLY: GOOD, BOTH: GOOD}
    assert chosen(dev, tuned=float("nan"), dense=float("nan")) == PROMPTS_ONLY


def costing(tokens: int, *scores: float) -> Evaluation:
    rows = (
        EvaluationRow(str(n), "?", ("!",), score=score, prompt_tokens=tokens)
        for n, score in enumerate(scores)
    )
    return Evaluation(tuple(rows))


def decided(
    test: Mapping[str, Evaluation], name: str = BOTH, other: str | None = None
) -> tuple[str, str]:
    named = {item.name: item for item in VARIANTS}
    beside = named[other] if other else None
    found = decide_shipping(named[name], beside, test, variants=VARIANTS, margin=0.01)
    return found.variant.name, found.verdict


LOW, HIGH = [0.2] * 40, [0.8, 0.9] * 20
HIGHER = [score + 0.05 for score in HIGH]
CHEAPER = "ship the cheaper one"
KEEP = "keep the baseline"


def test_dev_names_the_cheapest_program_that_is_as_good() -> None:
    dev = {
        BASELINE: costing(50, *BAD.scores),
        KNOBS_ONLY: costing(90, *NEARLY.scores),
        PROMPTS_ONLY: costing(80, *CLEARLY_WORSE.scores),
        BOTH: costing(100, *GOOD.scores),
    }
    named = cheaper_equal(VARIANTS, VARIANTS[-1], dev)
    assert named is not None
    assert named.name == KNOBS_ONLY
    alike = {**dev, KNOBS_ONLY: costing(99, *NEARLY.scores)}
    assert cheaper_equal(VARIANTS, VARIANTS[-1], alike) is None


def test_what_is_worse_and_dearer_on_dev_is_not_chosen_for_its_ranking() -> None:
    dev = {BASELINE: BAD, KNOBS_ONLY: BAD, PROMPTS_ONLY: costing(100, *GOOD.scores),
           BOTH: costing(200, *NEARLY.scores)}  # fmt: skip
    assert chosen(dev) == PROMPTS_ONLY


def test_what_is_surely_better_is_shipped() -> None:
    test = {BASELINE: costing(100, *LOW), BOTH: costing(300, *HIGHER)}
    assert decided(test) == (BOTH, "ship")
    assert decided({**test, PROMPTS_ONLY: costing(90, *LOW)}, other=PROMPTS_ONLY) == (BOTH, "ship")
    assert decided({**test, PROMPTS_ONLY: costing(90, *HIGH)}, other=PROMPTS_ONLY) == (BOTH, "ship")


def test_of_two_as_good_the_cheaper_is_shipped_if_dev_named_it() -> None:
    test = {BASELINE: costing(100, *LOW), BOTH: costing(300, *HIGH)}
    both = {**test, PROMPTS_ONLY: costing(200, *HIGH)}
    assert decided(both, other=PROMPTS_ONLY) == (PROMPTS_ONLY, CHEAPER)
    assert decided(both) == (BOTH, "ship")


def test_the_cheaper_one_is_shipped_where_it_alone_is_surely_better() -> None:
    unsure = [0.2, 0.3, 0.1, 0.2] * 10
    test = {BASELINE: costing(100, *LOW), BOTH: costing(300, *unsure)}
    found = decided({**test, PROMPTS_ONLY: costing(200, *HIGH)}, other=PROMPTS_ONLY)
    assert found == (PROMPTS_ONLY, CHEAPER)


def test_a_program_that_is_worse_and_dearer_than_another_is_never_shipped() -> None:
    test = {BASELINE: costing(100, *LOW), BOTH: costing(300, *HIGH)}
    better = {**test, KNOBS_ONLY: costing(299, *HIGHER)}
    assert decided(better, other=KNOBS_ONLY) == (KNOBS_ONLY, CHEAPER)
    assert decided(better) == (KNOBS_ONLY, CHEAPER)
    assert decided({BASELINE: costing(100, *HIGH), BOTH: costing(300, *LOW)})[1] == KEEP


def test_what_only_test_questions_name_is_shipped_if_its_corrected_gain_holds() -> None:
    test = {BASELINE: costing(100, *LOW), BOTH: costing(300, *[0.25] * 40)}
    surely = costing(200, *[0.2] * 30, *[0.9] * 10)
    by_luck = costing(200, *[0.05] * 30, *[0.9] * 10)
    assert decided({**test, KNOBS_ONLY: surely}) == (KNOBS_ONLY, CHEAPER)
    assert decided({**test, KNOBS_ONLY: by_luck}) == (BOTH, KEEP)


def test_as_good_as_the_baseline_for_fewer_tokens_is_worth_shipping() -> None:
    test = {BASELINE: costing(300, *HIGH), KNOBS_ONLY: costing(100, *HIGH)}
    assert decided(test, KNOBS_ONLY) == (KNOBS_ONLY, CHEAPER)
    assert decided(test, BASELINE, KNOBS_ONLY) == (KNOBS_ONLY, CHEAPER)
    assert decided(test, BASELINE) == (BASELINE, KEEP)


def test_a_cheaper_one_that_a_cap_left_out_decides_nothing() -> None:
    test = {BASELINE: costing(100, *LOW), BOTH: costing(300, *HIGH)}
    assert decided(test, BOTH, KNOBS_ONLY) == (BOTH, "ship")


def test_noise_is_not_as_good() -> None:
    noise = [1.0, 0.0, 0.0] * 13
    test = {BASELINE: costing(300, *noise), KNOBS_ONLY: costing(100, *noise[::-1])}
    assert decided(test, KNOBS_ONLY) == (KNOBS_ONLY, KEEP)
