"""What the stages of a compile came to in, the `CompileResult` out. Selects nothing any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ragwright.optimize.bench import Bench
from ragwright.optimize.candidates import Candidate
from ragwright.optimize.choice import Decision, against
from ragwright.optimize.prompts.learning import Tried
from ragwright.optimize.prompts.state import prompt_hash
from ragwright.optimize.questions.checking import unknown_documents
from ragwright.optimize.questions.leakage import check_leakage
from ragwright.optimize.questions.test_looks import look
from ragwright.optimize.result import (
    BASELINE,
    BOTH,
    KNOBS_ONLY,
    PROMPTS_ONLY,
    CompileResult,
    Inputs,
    Part,
    Variant,
)
from ragwright.optimize.retrieval.replay import Labelled, retrieval_table
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.scoring.attribution import Failure, attribute
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.scoring.statistics import Gain, compare
from ragwright.programs.knobs import KnobValues


@dataclass(frozen=True)
class Outcome:
    """What the stages came to.

    Attributes:
        found: The search.
        tuned: The knobs that answer best under the learned prompts.
        variants: What was compared on dev, from the least changed to the most.
        chosen: The one of them that was chosen, or the cheaper one in its place.
        decision: The verdict on it.
        dev: Evaluations by variant.
        test: Evaluations by variant.
        judged: Every retrieval setting, and every prompt, that was judged by answers.
        tried: Every program that the prompt optimizer evaluated.
        stopped: Which stages a cap cut short, and why.
    """

    found: Search
    tuned: KnobValues
    variants: tuple[Variant, ...]
    chosen: Variant
    decision: Decision
    dev: Mapping[str, Evaluation]
    test: Mapping[str, Evaluation]
    judged: tuple[Candidate, ...] = ()
    tried: tuple[Tried, ...] = ()
    stopped: tuple[str, ...] = ()


def summarize(bench: Bench, outcome: Outcome, lm_name: str) -> CompileResult:
    """Compare with the baseline on test and gather everything that is known."""
    chosen, test = outcome.chosen, outcome.test
    base, done, ablation = test[BASELINE], test[chosen.name], _ablation(bench, test)
    labelled = bench.labelled(bench.splits.test)
    compiled, tuned = bench.usable(chosen.knobs), bench.usable(outcome.tuned)
    return CompileResult(
        program=bench.program(chosen.knobs, chosen.teacher, live=True),
        recipe=bench.recipe,
        run_dir=str(bench.folder),
        chosen=chosen.name,
        knobs=compiled,
        dev=outcome.dev,
        test=test,
        gain=ablation[chosen.name],
        ablation=ablation,
        decided=outcome.decision.verdict,
        why=outcome.decision.why,
        comparisons=_together(bench, test),
        parts=_parts(bench, base, done),
        candidates=_candidates(bench, outcome),
        search=outcome.found,
        retrieval=retrieval_table(
            labelled, {BASELINE: bench.recipe.baseline, "tuned": tuned, "compiled": compiled}
        ),
        failures={
            BASELINE: _failures(bench, labelled, bench.recipe.baseline, base),
            "compiled": _failures(bench, labelled, compiled, done),
        },
        inputs=_inputs(bench, lm_name),
        splits=bench.splits,
        spend=bench.meter.stages,
        notes=(*_notes(bench, outcome.found, test), *outcome.stopped),
        tried=outcome.tried,
        stopped=outcome.stopped,
    )


def _ablation(bench: Bench, test: Mapping[str, Evaluation]) -> dict[str, Gain]:
    """Compare every variant with the baseline."""
    base, seed = test[BASELINE], bench.recipe.compile.seed
    return {
        name: compare(base.scores, item.scores, groups=base.groups, seed=seed)
        for name, item in test.items()
    }


def _together(bench: Bench, test: Mapping[str, Evaluation]) -> dict[str, Gain]:
    """Compare knobs and prompts together with either alone."""
    seed = bench.recipe.compile.seed
    return {
        f"{BOTH} - {alone}": against(test, alone, BOTH, seed)
        for alone in (PROMPTS_ONLY, KNOBS_ONLY)
        if BOTH in test and alone in test
    }


def _parts(bench: Bench, base: Evaluation, done: Evaluation) -> tuple[Part, ...]:
    """Compare by every part of a metric that is a sum."""
    names = [name for _, name in bench.metric.terms]
    scores = {name: (base.part(name), done.part(name)) for name in names if len(names) > 1}
    seed = bench.recipe.compile.seed
    return tuple(
        Part(name, float(before.mean()), float(after.mean()),
             compare(before, after, groups=base.groups, seed=seed))
        for name, (before, after) in scores.items()
    )  # fmt: skip


def _candidates(bench: Bench, outcome: Outcome) -> tuple[Candidate, ...]:
    """All that was judged on the way, with what each is made of; the variants last."""
    written = bench.student(bench.recipe.knobs)
    compared = (
        Candidate(
            name=variant.name,
            stage="choice",
            knobs=variant.knobs,
            prompts=prompt_hash(variant.teacher or written),
            dev=outcome.dev[variant.name].mean,
            questions=len(outcome.dev[variant.name].rows),
        )
        for variant in outcome.variants
    )
    return (*outcome.judged, *compared)


def _failures(
    bench: Bench, labelled: Labelled, knobs: KnobValues, evaluation: Evaluation
) -> tuple[Failure | None, ...]:
    places = attribute(labelled, bench.usable(knobs))
    wrong = evaluation.scores < bench.metric.threshold
    return tuple(place if bad else None for place, bad in zip(places, wrong, strict=True))


def _inputs(bench: Bench, lm_name: str) -> Inputs:
    splits = bench.splits
    return Inputs(
        sizes={"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test)},
        duplicates=bench.trainset.duplicates,
        data=bench.trainset.fingerprint,
        index=bench.index.fingerprint,
        lm=lm_name,
        labels=bench.labels(bench.trainset.questions).described,
        leakage=check_leakage(splits),
        looks=look(bench.folder.parent, splits.test, bench.folder.name),
    )


def _trainset_notes(bench: Bench) -> list[str]:
    """Return what there is to say of the questions themselves."""
    notes = []
    if bench.trainset.duplicates:
        notes.append(f"{bench.trainset.duplicates} questions repeat another and were left out.")
    if bench.trainset.unanswerable:
        notes.append(f"{bench.trainset.unanswerable} questions have no answer and were left out.")
    unknown = unknown_documents(bench.trainset.questions, bench.index)
    if unknown:
        _, name, nearest = unknown[0]
        near = f" (nearest: {nearest[0]!r})" if nearest else ""
        notes.append(
            f"{len({id for id, _, _ in unknown})} questions name documents that the index does not "
            f"hold, such as {name!r}{near}."
        )
    return notes


def _notes(bench: Bench, found: Search, test: Mapping[str, Evaluation]) -> tuple[str, ...]:
    notes = [*bench.warnings, *_trainset_notes(bench)]
    if not found.trials:
        notes.append("The retrieval knobs were not searched: no trials, labels or choice.")
    elif found.kept_start:
        notes.append("On questions that chose nothing, no retrieval setting beat the start.")
    elif found.fixed:
        notes.append(f"A fixed way of retrieving, {found.fixed}, ranked better than the search.")
    for name, item in test.items():
        if item.errors:
            counts = ", ".join(f"{count} {kind}" for kind, count in item.errors.items())
            notes.append(f"{name}: questions that failed count as 0 ({counts}).")
        odd = {how: item.reads[how] for how in ("salvaged", "plain") if item.reads.get(how)}
        if odd:
            counts = ", ".join(f"{count} {how}" for how, count in odd.items())
            notes.append(f"{name}: replies that did not keep to their form were read ({counts}).")
    return tuple(notes)
