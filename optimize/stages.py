"""The stages of a compile, in order: a bench in, everything that was found and measured out.

pool -> retrieval -> baseline -> halving -> prompts -> (where prompts write queries: pool and
retrieval again) -> shortlist -> choice -> test. When a cap is reached, the stages that learn end
with the best so far; what the choice and the held-out test need is kept back for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dspy

from ragwright.optimize.bench import Bench
from ragwright.optimize.candidates import Candidate
from ragwright.optimize.choice import choose, compared, settled
from ragwright.optimize.contest import Contest
from ragwright.optimize.prompts.demonstrations import NoOptimizer
from ragwright.optimize.prompts.learning import Tried, run_optimizer
from ragwright.optimize.prompts.lesson import OptimizerSettings
from ragwright.optimize.prompts.state import prompts_of, set_prompts
from ragwright.optimize.result import BASELINE, BOTH, START, Variant
from ragwright.optimize.retrieval.search import Search, read_otherwise, reranked_otherwise, search
from ragwright.optimize.retrieval.space import SearchSettings
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.optimize.spending.reserve import no_less, reserved
from ragwright.optimize.summary import Outcome
from ragwright.programs.build import build_program
from ragwright.programs.knobs import KnobValues
from ragwright.programs.lm import can_write
from ragwright.programs.rag import RAG
from ragwright.programs.replies.adapter import ReplyAdapter


@dataclass
class Stages:
    """One compile under way.

    Attributes:
        bench: What it works with; its pool changes.
        optimizer: Learns the prompts.
        stopped: Which stages a cap cut short, and why.
        tried: Every program that the optimizer evaluated.
        judged: Every retrieval setting, and every prompt, that was judged by answers, in order.
        best: What would be kept if it ended now, with its mean on dev.
    """

    bench: Bench
    optimizer: OptimizerSettings
    stopped: list[str] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    judged: list[Candidate] = field(default_factory=list)
    best: tuple[Variant, float] | None = None

    def run(self) -> Outcome:
        """Go through all stages.

        Raises:
            CompileError: A cap leaves nothing to compare, or not enough for the held-out test.
        """
        found = self._retrieval()
        baseline = self._baseline()
        with reserved(self.bench, baseline):
            finalists = self._halved(found)
            entry, learned = self._prompts(finalists)
            found = self._searched_again(found, learned)
            tuned = self._shortlist(found, learned, entry)
        variants = compared(self.bench.recipe, tuned, learned)
        dev = self._choice(variants, baseline)
        left = [item for item in variants if item.name in dev]
        chosen = choose(left, dev, self.bench.ranking_score)
        test = self._test(left, chosen)
        section = self.bench.recipe.compile
        decision = settled(left, chosen, test, margin=section.margin, seed=section.seed)
        chosen = decision.variant
        with self.bench.meter.stage("test"), no_less("The test questions could not be searched"):
            self.bench = self.bench.with_pool(self.bench.splits.test, chosen.teacher)
        return Outcome(
            found=found,
            tuned=tuned,
            variants=tuple(left),
            chosen=chosen,
            decision=decision,
            dev=dev,
            test=test,
            judged=tuple(self.judged),
            tried=tuple(self.tried),
            stopped=tuple(self.stopped),
        )

    def _retrieval(self) -> Search:
        bench = self.bench
        with bench.meter.stage("pool"), no_less("No question could be searched for"):
            self.bench = bench.with_pool([*bench.splits.train, *bench.splits.dev])
        with bench.meter.stage("retrieval"):
            return self._search(bench.folder)

    def _search(self, folder: Path) -> Search:
        """Search, and keep the trials in this folder."""
        bench, section = self.bench, self.bench.recipe.compile
        questions = [*bench.splits.train, *bench.splits.dev]
        labelled = bench.labelled(questions)
        settings = SearchSettings(
            metric=bench.ranking,
            trials=section.retrieval_trials,
            shortlist=section.shortlist,
            signals=bench.signals,
            seed=section.seed,
            neighbours=bool(labelled.relevance.answers.any()),
        )
        return search(
            labelled,
            bench.usable(bench.recipe.knobs),
            bench.usable(bench.recipe.baseline),
            settings,
            groups=[question.group for question in questions],
            folder=folder,
            progress=bench.progress,
        )

    def _baseline(self) -> Evaluation:
        variant = Variant(BASELINE, self.bench.recipe.baseline)
        with self.bench.meter.stage("baseline"), no_less("The baseline could not be judged"):
            done = self.bench.answered(variant, self.bench.splits.dev, live=False)
            if self._asks_plainly(done):
                done = self.bench.answered(variant, self.bench.splits.dev, live=False)
        self._best_so_far(variant, done)
        return done

    def _asks_plainly(self, done: Evaluation) -> bool:
        """Where most replies keep to no form, ask for the answer alone from now on.

        Decided once, by what the whole baseline came to, so that a resumed run asks alike.
        """
        adapter = dspy.settings.adapter
        auto = isinstance(adapter, ReplyAdapter) and adapter.wanted == "auto"
        missed = len(done.unreadable) + done.reads.get("plain", 0)
        if not auto or not can_write(self.bench.lm) or 2 * missed <= len(done.rows):
            return False
        adapter.wanted = "plain"
        note = (
            f"{missed} of {len(done.rows)} replies did not keep to DSPy's format: from then on the "
            'language model was asked for the answer alone ([lm] format = "plain").'
        )
        self.bench = replace(self.bench, warnings=(*self.bench.warnings, note))
        return True

    def _halved(self, found: Search) -> list[KnobValues]:
        """The settings that prompts are learned for; the search's best, if there is to be one."""
        wanted = self.bench.recipe.compile.finalists
        if wanted >= len(found.shortlist) or not self._learns:
            return list(found.shortlist[:wanted])
        with self.bench.meter.stage("halving"):
            contest = Contest(self.bench, None, self.judged)
            try:
                best = contest.best("halving", found.shortlist, keep=wanted)
            except BudgetSpent as signal:
                self._cut("halving", signal)
                return list(found.shortlist[:1])
            return [knobs for knobs, _ in best]

    def _prompts(self, finalists: Sequence[KnobValues]) -> tuple[KnobValues, RAG]:
        """Learn prompts at every finalist; the best on dev."""
        pairs = [(knobs, self._learned(number, knobs)) for number, knobs in enumerate(finalists)]
        if len(pairs) == 1:
            return pairs[0]
        with self.bench.meter.stage("prompts"):
            try:
                means = [self._mean(knobs, learned) for knobs, learned in pairs]
            except BudgetSpent as signal:
                self._cut("prompts", signal)
                return pairs[0]
        return pairs[means.index(max(means))]

    def _learned(self, number: int, knobs: KnobValues) -> RAG:
        bench = self.bench
        program = bench.student(knobs)
        with bench.meter.stage("prompts"):
            known = bench.journal.last("learned", setting=number)
            if known is not None:
                set_prompts(program, known["prompts"])
                return program
            lesson = bench.lesson_at(knobs)
            learned = run_optimizer(self.optimizer, program, lesson, log=bench.log)
        tried = [replace(one, number=len(self.tried) + one.number) for one in learned.tried]
        self.tried += tried
        self.judged += [
            Candidate(f"prompts {one.number}", "prompts", bench.usable(knobs), one.prompts,
                      one.score, one.questions)
            for one in tried
            if one.dev
        ]  # fmt: skip
        set_prompts(program, prompts_of(learned.program))
        if learned.stopped:
            self._cut("prompts", learned.stopped)
        else:
            bench.journal.add("learned", {"setting": number, "prompts": prompts_of(program)})
        return program

    def _searched_again(self, found: Search, learned: RAG) -> Search:
        """Where the learned prompts write queries, other passages are found: search once more."""
        bench = self.bench
        if not bench.writes_queries or not self._learns:
            return found
        try:
            with bench.meter.stage("pool"):
                self.bench = bench.with_pool([*bench.splits.train, *bench.splits.dev], learned)
            with bench.meter.stage("retrieval"):
                return self._search(bench.folder / "again")
        except BudgetSpent as signal:
            self._cut("retrieval under the learned prompts", signal)
            return found

    def _shortlist(self, found: Search, learned: RAG, entry: KnobValues) -> KnobValues:
        """Of the shortlist, the setting with the best answers on dev under the learned prompts.

        Then the best way to put its passages before the reader.
        """
        contest, best = Contest(self.bench, learned, self.judged), entry
        entries = list(dict.fromkeys([entry, *found.shortlist]))
        with self.bench.meter.stage("shortlist"):
            try:
                ((best, done),) = contest.best("shortlist", entries)
                self._best_so_far(Variant(BOTH, best, learned), done)
                ways = [best, *read_otherwise(best)]
                ((best, done),) = contest.best("reading", ways, defends=True)
                self._best_so_far(Variant(BOTH, best, learned), done)
                weights = [best, *reranked_otherwise(best, self.bench.recipe.knobs)]
                if len(weights) > 1:
                    ((best, done),) = contest.best("reranking", weights, defends=True)
                    self._best_so_far(Variant(BOTH, best, learned), done)
            except BudgetSpent as signal:
                self._cut("shortlist", signal)
        return best

    def _choice(self, variants: Sequence[Variant], baseline: Evaluation) -> dict[str, Evaluation]:
        dev = {BASELINE: baseline}
        others = [item for item in variants if item.name != BASELINE]
        with self.bench.meter.stage("choice"):
            for variant in sorted(others, key=lambda item: item.name != BOTH):
                try:
                    done = self.bench.answered(variant, self.bench.splits.dev, live=False)
                    self._best_so_far(variant, done)
                    dev[variant.name] = done
                except BudgetSpent as signal:
                    self._cut(f"choice of {variant.name!r}", signal)
        return {item.name: dev[item.name] for item in variants if item.name in dev}

    def _test(self, variants: Sequence[Variant], chosen: Variant) -> dict[str, Evaluation]:
        """The held-out questions: the baseline and the chosen one first, the ablation after."""
        bench, test = self.bench, {}
        reported = [item for item in variants if item.name != START or item is chosen]
        needed = (BASELINE, chosen.name)
        with bench.meter.stage("test"):
            for variant in sorted(reported, key=lambda item: item.name not in needed):
                if variant.name in needed:
                    with no_less("The held-out test could not be finished"):
                        test[variant.name] = bench.answered(variant, bench.splits.test, live=True)
                    continue
                try:
                    test[variant.name] = bench.answered(variant, bench.splits.test, live=True)
                except BudgetSpent as signal:
                    self._cut(f"test of {variant.name!r}", signal)
        return {item.name: test[item.name] for item in reported if item.name in test}

    @property
    def _learns(self) -> bool:
        return not isinstance(self.optimizer, NoOptimizer)

    def _mean(self, knobs: KnobValues, learned: RAG) -> float:
        variant = Variant("finalist", knobs, learned)
        return self.bench.answered(variant, self.bench.splits.dev, live=False).mean

    def _best_so_far(self, variant: Variant, done: Evaluation) -> None:
        if self.best is not None and done.mean <= self.best[1]:
            return
        self.best = (variant, done.mean)
        prompts = prompts_of(variant.teacher or build_program(self.bench.recipe))
        knobs = variant.knobs.model_dump()
        facts = {"name": variant.name, "dev": done.mean, "prompts": prompts, "knobs": knobs}
        self.bench.journal.add("best", facts)

    def _cut(self, stage: str, signal: BudgetSpent | str) -> None:
        self.stopped.append(f"{stage}: ended early, the best so far is kept ({signal}).")
