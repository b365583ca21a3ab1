"""Runs the stages of a compile in order, from the first search to the test.

pool -> baseline -> (where what is asked depends on the language model: pool again) -> retrieval ->
halving -> prompts -> (in that case: pool and retrieval again) -> shortlist -> (further cycles from
prompts on, where asked for) -> choice -> test. When a cap is reached, the stages that learn end
with the best so far; what the choice and the held-out test need is kept back for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ragwright.optimize.candidates import Candidate, count_demonstrations
from ragwright.optimize.choice import (
    cheaper_equal,
    choose_program,
    decide_shipping,
    variants_to_compare,
)
from ragwright.optimize.contest import Contest, reading_alternatives, reranking_alternatives
from ragwright.optimize.cycles import CycleOutcome, run_cycles
from ragwright.optimize.learning import learn
from ragwright.optimize.plain_replies import ask_plainly, asking_plainly, looks
from ragwright.optimize.prompts.demonstrations import NoOptimizer
from ragwright.optimize.prompts.learning import PromptTrial, run_optimizer
from ragwright.optimize.prompts.lesson import OptimizerSettings
from ragwright.optimize.prompts.state import Prompts, prompts_of
from ragwright.optimize.repeats import evaluate_repeatedly
from ragwright.optimize.result import BASELINE, BOTH, Variant
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.retrieval.search import Search, dissimilar_rankings, search_knobs
from ragwright.optimize.retrieval.space import SearchSettings
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.setting import Setting
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.optimize.spending.estimate import tell_duration
from ragwright.optimize.spending.reserve import (
    reserve_for_test,
    tell_small_cap,
    translate_cap_reached,
)
from ragwright.optimize.summary import KnobSearch, Outcome
from ragwright.optimize.workbench import Workbench
from ragwright.programs.knobs import LEARNED
from ragwright.programs.replaying import Trails


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
        depends: Whether what is asked of the stages depends on the language model.
        cycles: A sentence on every cycle after the first.
        written: Of each optimizer, what a model wrote for it and could not be used: said, and that.
    """

    bench: Workbench
    optimizer: OptimizerSettings
    stopped: list[str] = field(default_factory=list)
    tried: list[PromptTrial] = field(default_factory=list)
    judged: list[Candidate] = field(default_factory=list)
    best: tuple[Variant, float] | None = None
    depends: bool = False
    cycles: tuple[str, ...] = ()
    written: list[tuple[str, Sequence[str]]] = field(default_factory=list)

    def run(self) -> Outcome:
        """Go through all stages.

        Raises:
            CompileError: A cap leaves nothing to compare, or not enough for the held-out test.
        """
        tell_small_cap(self.bench)
        baseline = self._baseline()
        found = self._retrieval()
        with reserve_for_test(self.bench, baseline, choice=True):
            finalists = self._halved(found)
            joined = self._cycles(self._first(found, finalists))
        found, tuned, learned = joined.found, joined.tuned, joined.learned
        variants = variants_to_compare(self.bench.baseline, self.bench.start, tuned, learned)
        with reserve_for_test(self.bench, baseline, choice=False):
            dev = self._choice(variants, baseline)
        left = [item for item in variants if item.name in dev]
        chosen = choose_program(left, dev, self.bench.ranking_score)
        other = cheaper_equal(left, chosen, dev)
        test = self._test(left, chosen, other)
        section = self.bench.recipe.compile
        decision = decide_shipping(
            chosen, other, test, variants=left, margin=section.margin, seed=section.seed
        )
        chosen = decision.variant
        bench = self.bench
        with bench.meter.stage("test"), translate_cap_reached("Test could not be searched for"):
            self.bench = bench.with_asked(bench.splits.test, chosen, live=self.depends)
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
            told=(*self.cycles, *(told for told, _ in self.written if told)),
            unreadable=tuple(reply for _, replies in self.written for reply in replies),
        )

    def _baseline(self) -> Evaluation:
        """Answer dev with the program as it was, and see whether that asks more than without."""
        bench, variant = self.bench, Variant(BASELINE, self.bench.baseline)
        with bench.meter.stage("pool"), translate_cap_reached("No question could be searched for"):
            self.bench = bench = bench.with_asked(bench.learned_from, variant, live=False)
        trails = Trails()
        with (
            bench.meter.stage("baseline"),
            translate_cap_reached("The baseline could not be judged"),
        ):
            done = self._in_its_form(variant, trails)
            if missed := bool(bench.stages) and not (trails.asked or bench.journal.last("asked")):
                trails = self.bench.trails(bench.splits.dev, variant)  # it ended before that entry
        bench.pool.save()
        self.bench = bench = self.bench.warned(trails)
        if trails.asked or missed:
            bench.refuse_kept_answers(variant, done)
            # Not in which order: that of threads differs from time to time.
            self.depends = any(
                set(bench.asked.get(id, ())) != set(asked) for id, asked in trails.asked.items()
            )
            bench.journal.add("asked", {"depends": self.depends})
        elif known := bench.journal.last("asked"):
            self.depends = known["depends"]
        self._best_so_far(variant, done)
        tell_duration(bench, self.optimizer, done)
        return done

    def _in_its_form(self, variant: Variant, trails: Trails) -> Evaluation:
        """Answer dev, asking for replies in a form that the model keeps to."""
        bench, dev = self.bench, self.bench.splits.dev
        for look in looks(bench.lm, dev):
            done = bench.answered(variant, look.questions, live=False, trails=trails)
            if note := ask_plainly(bench.lm, done, most=look.most):
                self.bench = bench = asking_plainly(bench, note)
                return bench.answered(variant, dev, live=False, trails=trails)
        return done

    def _retrieval(self) -> KnobSearch:
        bench = self.bench
        if self.depends:
            with (
                bench.meter.stage("pool"),
                translate_cap_reached("No question could be searched for"),
            ):
                variant = Variant("pool", bench.start)
                self.bench = bench.with_asked(bench.learned_from, variant, live=True)
        with bench.meter.stage("retrieval"):
            return self._search(bench.folder)

    def _search(self, folder: Path) -> KnobSearch:
        """Search every stage's knobs, the others' being set, and keep the trials in this folder."""
        bench = self.bench
        together = bench.learned_together
        setting, baseline = bench.usable(bench.start), bench.usable(bench.baseline)
        found: dict[str, Search] = {}
        for number, place in enumerate(name for name in setting if name in together.stages):
            own = folder / f"stage-{number + 1}" if len(together.stages) > 1 else folder
            labelled = together.of_stage(place, setting)
            found[place] = search_knobs(
                labelled,
                setting[place],
                baseline[place],
                self._settings(place, labelled),
                groups=[bench.learned_from[n].group for n in together.stages[place].questions],
                folder=own,
                progress=bench.progress,
            )
            setting = setting.having(place, found[place].best)
        named = bool(together.labels.ideal.any())
        if not named or not bench.recipe.compile.learn:
            return KnobSearch(setting, found, named)
        learned = learn(bench, setting, found, live=self.depends)
        self.bench = learned.bench
        return KnobSearch(learned.best, learned.searches, named, learned.sources)

    def _settings(self, place: str, labelled: LabelledCandidates) -> SearchSettings:
        bench, section = self.bench, self.bench.recipe.compile
        return SearchSettings(
            metric=bench.ranking,
            trials=section.retrieval_trials,
            shortlist=section.shortlist,
            signals=tuple(one for one in bench.signals(place) if one.name not in LEARNED),
            seed=section.seed,
            neighbours=bool(labelled.relevance.answers.any()),
        )

    def _entries(self, found: KnobSearch) -> list[Setting]:
        """The settings that go on to the answers, the search's best first.

        Without a label to search by, some that differ much: the answers alone decide.
        """
        entries = [found.best]
        for place, searched in found.stages.items():
            others = list(searched.shortlist)
            if not found.labelled and self.bench.recipe.compile.retrieval_trials:
                others += dissimilar_rankings(found.best[place], self.bench.signals(place))
            entries += [found.best.having(place, knobs) for knobs in others]
        return list(dict.fromkeys(entries))

    def _halved(self, found: KnobSearch) -> list[Setting]:
        """The settings that prompts are learned for; the search's best, if there is to be one."""
        entries, wanted = self._entries(found), self.bench.recipe.compile.finalists
        if wanted >= len(entries) or not self._learns:
            return entries[:wanted]
        with self.bench.meter.stage("halving"):
            contest = Contest(self.bench, None, self.judged)
            try:
                best = contest.best("halving", entries, keep=wanted)
            except BudgetSpent as signal:
                self._cut("halving", signal)
                return entries[:1]
            return [setting for setting, _ in best]

    def _first(self, found: KnobSearch, finalists: Sequence[Setting]) -> CycleOutcome:
        """Learn prompts at the finalists, and choose knobs under the best of them."""
        entry, learned = self._prompts(finalists)
        found = self._searched_again(found, entry, learned, self.bench.folder / "again")
        return self._joined(found, entry, learned)

    def _cycles(self, first: CycleOutcome) -> CycleOutcome:
        """Go through further cycles where the recipe asks for them."""
        most = self.bench.recipe.compile.cycles if self._learns and first.mean >= 0 else 1
        best, self.cycles = run_cycles(first, self._cycle, most=most)
        return best

    def _cycle(self, number: int, before: CycleOutcome) -> CycleOutcome | None:
        """Prompts at the knobs that were found, knobs under these; None if a cap is reached."""
        bench = self.bench
        learned = self._learned(bench.recipe.compile.finalists + number, before.tuned)
        folder = bench.folder / f"cycle-{number}"
        found = self._searched_again(before.found, before.tuned, learned, folder)
        joined = self._joined(found, before.tuned, learned)
        if joined.mean <= before.mean:
            self.bench = bench  # what is asked of the stages is what the prompts before ask
        return joined if joined.mean >= 0 else None

    def _joined(self, found: KnobSearch, entry: Setting, learned: Prompts) -> CycleOutcome:
        tuned = self._shortlist(found, learned, entry)
        mean = -1.0
        if self.bench.recipe.compile.cycles > 1:
            try:
                with self.bench.meter.stage("shortlist"):
                    mean = self._mean(tuned, learned)
            except BudgetSpent as signal:
                self._cut("cycles", signal)
        return CycleOutcome(entry, learned, tuned, found, mean)

    def _prompts(self, finalists: Sequence[Setting]) -> tuple[Setting, Prompts]:
        """Learn prompts at every finalist; the best on dev."""
        pairs = [(one, self._learned(number, one)) for number, one in enumerate(finalists)]
        if len(pairs) == 1:
            return pairs[0]
        with self.bench.meter.stage("prompts"):
            try:
                means = [self._mean(setting, learned) for setting, learned in pairs]
            except BudgetSpent as signal:
                self._cut("prompts", signal)
                return pairs[0]
        return pairs[means.index(max(means))]

    def _learned(self, number: int, setting: Setting) -> Prompts:
        bench = self.bench
        with bench.meter.stage("prompts"):
            known = bench.journal.last("learned", setting=number)
            if known is not None:
                prompts: Prompts = known["prompts"]
                self.written.append((known.get("lost", ""), known.get("unreadable", ())))
                return prompts
            with bench.under(setting):
                program = bench.program()
                lesson = bench.lesson_at(setting)
                learned = run_optimizer(self.optimizer, program, lesson, log=bench.log)
        tried = [replace(one, number=len(self.tried) + one.number) for one in learned.tried]
        self.tried += tried
        self.judged += [
            Candidate(f"prompts {one.number}", "prompts", bench.usable(setting), one.prompts,
                      one.score, one.questions, count_demonstrations(one.state))
            for one in tried
            if one.dev
        ]  # fmt: skip
        prompts = prompts_of(learned.program)
        self.written.append((learned.lost, learned.unreadable))
        if learned.stopped:
            self._cut("prompts", learned.stopped)
        else:
            facts = {"lost": learned.lost, "unreadable": learned.unreadable}
            bench.journal.add("learned", {"setting": number, "prompts": prompts, **facts})
        return prompts

    def _searched_again(
        self, found: KnobSearch, entry: Setting, learned: Prompts, folder: Path
    ) -> KnobSearch:
        """Where the learned prompts write queries, other passages are found: search once more."""
        bench = self.bench
        if not self.depends or not self._learns:
            return found
        try:
            with bench.meter.stage("pool"):
                variant = Variant("pool", entry, learned)
                self.bench = bench.with_asked(bench.learned_from, variant, live=True)
            with bench.meter.stage("retrieval"):
                return self._search(folder)
        except BudgetSpent as signal:
            self._cut("retrieval under the learned prompts", signal)
            return found

    def _shortlist(self, found: KnobSearch, learned: Prompts, entry: Setting) -> Setting:
        """Of the shortlist, the setting with the best answers on dev under the learned prompts.

        Then the best way to put its passages before the reader.
        """
        contest, best = Contest(self.bench, learned, self.judged), entry
        entries = list(dict.fromkeys([entry, *self._entries(found)]))
        with self.bench.meter.stage("shortlist"):
            try:
                ((best, done),) = contest.best("shortlist", entries, defends=True)
                self._best_so_far(Variant(BOTH, best, learned), done)
                ways = [best, *reading_alternatives(self.bench, best)]
                ((best, done),) = contest.best("reading", ways, defends=True)
                self._best_so_far(Variant(BOTH, best, learned), done)
                weights = [best, *reranking_alternatives(self.bench, best)]
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

    def _test(
        self, variants: Sequence[Variant], chosen: Variant, other: Variant | None
    ) -> dict[str, Evaluation]:
        """The held-out questions: baseline and chosen one, then the cheaper one, then the rest."""
        self.bench = bench = self.bench.for_test()
        test: dict[str, Evaluation] = {}
        needed = (BASELINE, chosen.name)
        with bench.meter.stage("test"):
            for variant in sorted(
                variants, key=lambda item: (item.name not in needed, item is not other)
            ):
                if variant.name in needed:
                    with translate_cap_reached("The held-out test could not be finished"):
                        test[variant.name] = evaluate_repeatedly(bench, variant, bench.splits.test)
                    continue
                try:
                    test[variant.name] = evaluate_repeatedly(bench, variant, bench.splits.test)
                except BudgetSpent as signal:
                    self._cut(f"test of {variant.name!r}", signal)
        return {item.name: test[item.name] for item in variants if item.name in test}

    @property
    def _learns(self) -> bool:
        return not isinstance(self.optimizer, NoOptimizer)

    def _mean(self, setting: Setting, learned: Prompts) -> float:
        variant = Variant("finalist", setting, learned)
        return self.bench.answered(variant, self.bench.splits.dev, live=False).mean

    def _best_so_far(self, variant: Variant, done: Evaluation) -> None:
        if self.best is not None and done.mean <= self.best[1]:
            return
        self.best = (variant, done.mean)
        prompts = variant.prompts or prompts_of(self.bench.student)
        knobs = variant.setting.dump()
        facts = {"name": variant.name, "dev": done.mean, "prompts": prompts, "knobs": knobs}
        self.bench.journal.add("best", facts)

    def _cut(self, stage: str, signal: BudgetSpent | str) -> None:
        self.stopped.append(f"{stage}: ended early, the best so far is kept ({signal}).")
