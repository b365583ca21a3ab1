"""Sums up a compile: compares on test and builds the `CompileResult`. Selects nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import dspy

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.choice import ShipDecision, compare_on_test
from ragwright.optimize.prompts.learning import PromptTrial
from ragwright.optimize.prompts.state import prompts_of
from ragwright.optimize.questions.checking import unknown_documents
from ragwright.optimize.questions.leakage import check_leakage
from ragwright.optimize.questions.remarks import left_out, one_answer, remarks_on
from ragwright.optimize.questions.test_looks import record_test_look
from ragwright.optimize.repeats import describe_noise
from ragwright.optimize.result import (
    BASELINE,
    BOTH,
    KNOBS_ONLY,
    PROMPTS_ONLY,
    START,
    CompileInputs,
    CompileResult,
    MetricPart,
    Variant,
)
from ragwright.optimize.retrieval.gate import GatedSource
from ragwright.optimize.retrieval.replay import RetrievalRow, retrieval_table
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.retrieval.together import JointLists
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.familiarity import gains_by_familiarity
from ragwright.optimize.scoring.statistics import Gain, paired_gain
from ragwright.optimize.setting import Setting, short_stage_name
from ragwright.optimize.workbench import Workbench
from ragwright.programs.anatomy import (
    foreign_retrievers,
    hidden_knobs,
    hidden_predictors,
    predictors_of,
    stages_of,
)
from ragwright.retrievers.index import open_index
from ragwright.retrievers.text.numbers import count_with_noun


@dataclass(frozen=True)
class KnobSearch:
    """What the search of all stages' knobs came to.

    Attributes:
        best: The knobs of every stage.
        stages: The search of each, by its place.
        labelled: Whether any question had a label to search by.
        sources: What became of what was learned.
    """

    best: Setting
    stages: Mapping[str, Search]
    labelled: bool
    sources: tuple[GatedSource, ...] = ()


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
        told: A sentence on every cycle of prompts and retrieval after the first, and on what could
            not be used of what a model wrote.
        unreadable: That, as it was written.
    """

    found: KnobSearch
    tuned: Setting
    variants: tuple[Variant, ...]
    chosen: Variant
    decision: ShipDecision
    dev: Mapping[str, Evaluation]
    test: Mapping[str, Evaluation]
    judged: tuple[Candidate, ...] = ()
    tried: tuple[PromptTrial, ...] = ()
    stopped: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


def summarize(bench: Workbench, outcome: Outcome, lm_name: str) -> CompileResult:
    """Compare with the baseline on test and gather everything that is known."""
    chosen, test = outcome.chosen, outcome.test
    base, done, ablation = test[BASELINE], test[chosen.name], _ablation(bench, test)
    together, inputs = bench.together(bench.splits.test), _inputs(bench, lm_name)
    leaked = filter(None, [inputs.leakage.note(inputs.sizes["test"])])
    return CompileResult(
        program=bench.finished(chosen),
        student=bench.student,
        recipe=bench.recipe,
        run_dir=str(bench.folder),
        chosen=chosen.name,
        setting=bench.usable(chosen.setting),
        baseline_setting=bench.baseline,
        start=bench.start,
        dev=outcome.dev,
        test=test,
        gain=ablation[chosen.name],
        ablation=ablation,
        decided=outcome.decision.verdict,
        why=outcome.decision.why,
        comparisons=_together(bench, test),
        over_start=_over_start(bench, test, chosen.name),
        parts=_parts(bench, base, done),
        familiar=gains_by_familiarity(
            bench.splits,
            base.scores,
            done.scores,
            groups=base.groups,
            seed=bench.recipe.compile.seed,
        ),
        candidates=_candidates(bench, outcome),
        searches=outcome.found.stages,
        sources=outcome.found.sources,
        retrieval=_retrieval(bench, together, outcome),
        failures={
            BASELINE: _failures(bench, together, bench.baseline, base),
            "compiled": _failures(bench, together, chosen.setting, done),
        },
        inputs=inputs,
        splits=bench.splits,
        spend=bench.meter.stages,
        notes=(*leaked, *_notes(bench, outcome.found, test), *outcome.told, *outcome.stopped),
        tried=outcome.tried,
        stopped=outcome.stopped,
        written=outcome.unreadable,
    )


def _retrieval(
    bench: Workbench, together: JointLists, outcome: Outcome
) -> tuple[RetrievalRow, ...]:
    """Compare ways of retrieving, stage by stage; several stages' rows carry their names."""
    compiled, tuned = bench.usable(outcome.chosen.setting), bench.usable(outcome.tuned)
    baseline = bench.usable(bench.baseline)
    rows: list[RetrievalRow] = []
    for place, stage in together.stages.items():
        own = {BASELINE: baseline[place], "tuned": tuned[place], "compiled": compiled[place]}
        found = retrieval_table(stage.labelled, own)
        many = len(bench.start) > 1
        rows += [
            replace(row, name=f"{short_stage_name(place)}: {row.name}") if many else row
            for row in found
        ]
    return tuple(rows)


def _ablation(bench: Workbench, test: Mapping[str, Evaluation]) -> dict[str, Gain]:
    """Compare every variant with the baseline."""
    base, seed = test[BASELINE], bench.recipe.compile.seed
    return {
        name: paired_gain(base.scores, item.scores, groups=base.groups, seed=seed)
        for name, item in test.items()
    }


def _together(bench: Workbench, test: Mapping[str, Evaluation]) -> dict[str, Gain]:
    """Compare knobs and prompts together with either alone, and with what needs no compile."""
    seed = bench.recipe.compile.seed
    return {
        f"{BOTH} - {alone}": compare_on_test(test, alone, BOTH, seed)
        for alone in (PROMPTS_ONLY, KNOBS_ONLY, START)
        if BOTH in test and alone in test
    }


def _over_start(bench: Workbench, test: Mapping[str, Evaluation], chosen: str) -> Gain | None:
    """Compare the compiled program with what needs no compile, where that is not the baseline."""
    if START not in test or chosen in (BASELINE, START):
        return None
    return compare_on_test(test, START, chosen, bench.recipe.compile.seed)


def _parts(bench: Workbench, base: Evaluation, done: Evaluation) -> tuple[MetricPart, ...]:
    """Compare by every part of a metric that is a sum."""
    names = [name for _, name in bench.metric.terms]
    scores = {name: (base.part(name), done.part(name)) for name in names if len(names) > 1}
    seed = bench.recipe.compile.seed
    return tuple(
        MetricPart(name, float(before.mean()), float(after.mean()),
             paired_gain(before, after, groups=base.groups, seed=seed))
        for name, (before, after) in scores.items()
    )  # fmt: skip


def _candidates(bench: Workbench, outcome: Outcome) -> tuple[Candidate, ...]:
    """All that was judged on the way, with what each is made of; the variants last."""
    written = prompts_of(bench.student)
    compared = (
        Candidate.of(
            variant.name,
            "choice",
            variant.setting,
            variant.prompts or written,
            outcome.dev[variant.name],
        )
        for variant in outcome.variants
    )
    return (*outcome.judged, *compared)


def _failures(
    bench: Workbench, together: JointLists, setting: Setting, evaluation: Evaluation
) -> tuple[Failure | None, ...]:
    places = together.failures(bench.usable(setting))
    wrong = evaluation.scores < bench.metric.threshold
    return tuple(place if bad else None for place, bad in zip(places, wrong, strict=True))


def _inputs(bench: Workbench, lm_name: str) -> CompileInputs:
    splits = bench.splits
    return CompileInputs(
        sizes={"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test)},
        duplicates=bench.trainset.duplicates,
        data=bench.trainset.fingerprint,
        index=bench.index_fingerprint,
        lm=lm_name,
        labels=_labels(bench),
        leakage=check_leakage(splits),
        looks=record_test_look(bench.folder.parent, splits.test, bench.folder.name),
    )


def _labels(bench: Workbench) -> str:
    """Which labels retrieval was judged by, with counts."""
    labels = bench.corpus.labels
    if not labels.ideal.any():
        return "none: the answers alone decide"
    return labels.described


def _trainset_notes(bench: Workbench) -> list[str]:
    """Return what there is to say of the questions themselves."""
    notes = []
    if bench.trainset.duplicates:
        rows = count_with_noun(bench.trainset.duplicates, "row")
        notes.append(f"{rows} of the training set repeat a question and were joined with it.")
    notes += left_out(bench.trainset) + remarks_on(bench.trainset, bench.metric.name)
    notes += filter(None, [one_answer(bench.splits.test)])
    paths = bench.corpus.paths
    unknown = (
        unknown_documents(bench.trainset.questions, open_index(paths[0])) if len(paths) == 1 else []
    )
    if unknown:
        _, name, nearest = unknown[0]
        near = f" (nearest: {nearest[0]!r})" if nearest else ""
        notes.append(
            f"{len({id for id, _, _ in unknown})} questions name documents that the index does not "
            f"hold, such as {name!r}{near}."
        )
    return notes


def _notes(bench: Workbench, found: KnobSearch, test: Mapping[str, Evaluation]) -> tuple[str, ...]:
    notes = [*bench.pool.warnings, *bench.warnings, *_trainset_notes(bench)]
    notes += _search_notes(bench, found)
    notes += [source.told for source in found.sources]
    notes += [
        f"DSPy does not see the stage {short_stage_name(place)!r}, which a tool or the like holds: "
        "its own save leaves that out, and ragwright.save keeps it. expose_knobs(self) at the end "
        "of the program's __init__ has DSPy see it."
        for place in hidden_knobs(bench.student)
    ]
    notes += [
        f"A {type(part).__name__} in the program has no knobs and was asked as it is; a "
        "HybridRetriever in its place would be tuned."
        for number, part in enumerate(foreign_retrievers(bench.student))
        if number not in bench.memo.led_on
    ]
    notes += [
        f"{short_stage_name(place)!r} was a {stage.in_place_of}, which has no knobs: a "
        f"{type(stage).__name__} that finds the same has its place, and was tuned."
        for place, stages in stages_of(bench.student).items()
        for stage in stages
        if stage.in_place_of
    ]
    notes += _prompt_notes(bench.student) if PROMPTS_ONLY in test else []
    if bench.recipe.compile.repeats > 1:
        notes.append(describe_noise(test))
    notes += _nothing_right(test)
    if (most := max(float(item.scores.max()) for item in test.values())) > 1:
        section = bench.recipe.compile
        notes.append(
            f"The metric returned up to {most:g}. It may, and everything is in its own units then: "
            f"`threshold` ({section.threshold:g}, from which an answer counts as right) and "
            f"`margin` ({section.margin:g}) too."
        )
    for name, item in test.items():
        if item.errors:
            counts = ", ".join(f"{count} {kind}" for kind, count in item.errors.items())
            notes.append(f"{name}: questions that failed count as 0 ({counts}).")
        odd = {how: item.reads[how] for how in ("salvaged", "plain") if item.reads.get(how)}
        if odd:
            counts = ", ".join(f"{count} {how}" for how, count in odd.items())
            notes.append(f"{name}: replies that did not keep to their form were read ({counts}).")
    return tuple(notes)


def _nothing_right(test: Mapping[str, Evaluation]) -> list[str]:
    """Say so where no answer of any program scored, with one as it was compared."""
    if any(item.scores.any() for item in test.values()):
        return []
    row = next((row for item in test.values() for row in item.rows if not row.error), None)
    if row is None:
        return []
    return [
        f"No answer to any test question scored above 0. To {row.question[:100]!r} "
        f"{row.expected[0][:60]!r} is expected and {row.answer[:60]!r} was said: does the metric "
        "fit such answers, and does the prompt ask for them in that form?"
    ]


def _prompt_notes(program: dspy.Module) -> list[str]:
    if not predictors_of(program):
        return [
            "In the program is no predictor that is found: no prompt was compiled. Make predictors "
            "in __init__, as attributes."
        ]
    return [
        f"DSPy does not see the predictor {short_stage_name(place)!r}, which a function, an object "
        "or a list in a table holds: its prompt stays as it is. Make it an attribute of the "
        "program."
        for place in hidden_predictors(program)
    ]


def _search_notes(bench: Workbench, found: KnobSearch) -> list[str]:
    silent = [short_stage_name(place) for place in bench.start if place not in found.stages]
    notes = [
        f"{place!r} was never asked, so its knobs stay as they were. A program that keeps what it "
        "found, and was asked before, asks no more: compile a new one."
        for place in silent
    ]
    if not bench.start:
        return [
            "In the program is no retrieval stage of ours: no knobs were tuned. It has some with "
            "HybridRetriever(INDEX), say, in the place of what it retrieves with."
        ]
    if not found.labelled:
        notes.append(
            "No question has a label (evidence, documents) that the index holds: the knobs were "
            "judged by the answer metric alone, on a few settings."
        )
    for place, searched in found.stages.items():
        name = f"{short_stage_name(place)}: " if len(bench.start) > 1 else ""
        if not searched.trials and found.labelled:
            notes.append(f"{name}The retrieval knobs were not searched: no trials or no choice.")
        elif searched.trials and searched.kept_start:
            notes.append(f"{name}On questions that chose nothing, the start ranked better.")
        elif searched.fixed:
            notes.append(
                f"{name}A fixed way of retrieving, {searched.fixed}, ranked better than the search."
            )
    return notes
