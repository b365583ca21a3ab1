"""The stages of a compile, in order: a bench in, everything that was found and measured out.

pool -> baseline -> (where what is asked depends on the language model: pool again) -> retrieval ->
halving -> prompts -> (in that case: pool and retrieval again) -> shortlist -> choice -> test. When
a cap is reached, the stages that learn end with the best so far; what the choice and the held-out
test need is kept back for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dspy

from ragwright.optimize.candidates import Candidate, demos_in
from ragwright.optimize.choice import cheaper, choose, compared, settled
from ragwright.optimize.contest import Contest
from ragwright.optimize.prompts.demonstrations import NoOptimizer
from ragwright.optimize.prompts.learning import Tried, run_optimizer
from ragwright.optimize.prompts.lesson import OptimizerSettings
from ragwright.optimize.prompts.state import Prompts, prompts_of
from ragwright.optimize.result import BASELINE, BOTH, START, Variant
from ragwright.optimize.retrieval.replay import Labelled
from ragwright.optimize.retrieval.search import Search, read_otherwise, reranked_otherwise, search
from ragwright.optimize.retrieval.space import SearchSettings
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.setting import Setting
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.optimize.spending.reserve import no_less, reserved
from ragwright.optimize.summary import Found, Outcome
from ragwright.optimize.workbench import Workbench
from ragwright.programs.knobs import KnobValues
from ragwright.programs.lm import can_write
from ragwright.programs.replaying import Trails
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.signals import Signal


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
    """

    bench: Workbench
    optimizer: OptimizerSettings
    stopped: list[str] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    judged: list[Candidate] = field(default_factory=list)
    best: tuple[Variant, float] | None = None
    depends: bool = False

    def run(self) -> Outcome:
        """Go through all stages.

        Raises:
            CompileError: A cap leaves nothing to compare, or not enough for the held-out test.
        """
        baseline = self._baseline()
        found = self._retrieval()
        with reserved(self.bench, baseline, choice=True):
            finalists = self._halved(found)
            entry, learned = self._prompts(finalists)
            found = self._searched_again(found, entry, learned)
            tuned = self._shortlist(found, learned, entry)
        variants = compared(self.bench.baseline, self.bench.start, tuned, learned)
        with reserved(self.bench, baseline, choice=False):
            dev = self._choice(variants, baseline)
        left = [item for item in variants if item.name in dev]
        chosen = choose(left, dev, self.bench.ranking_score)
        other = cheaper(left, chosen, dev)
        test = self._test(left, chosen, other)
        section = self.bench.recipe.compile
        decision = settled(chosen, other, test, margin=section.margin, seed=section.seed)
        chosen = decision.variant
        with self.bench.meter.stage("test"), no_less("The test questions could not be searched"):
            self.bench = self.bench.with_asked(self.bench.splits.test, chosen, live=self.depends)
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

    def _baseline(self) -> Evaluation:
        """Answer dev with the program as it was, and see whether that asks more than without."""
        bench, variant = self.bench, Variant(BASELINE, self.bench.baseline)
        with bench.meter.stage("pool"), no_less("No question could be searched for"):
            self.bench = bench = bench.with_asked(bench.learned_from, variant, live=False)
        trails = Trails()
        with bench.meter.stage("baseline"), no_less("The baseline could not be judged"):
            done = bench.answered(variant, bench.splits.dev, live=False, trails=trails)
            if self._asks_plainly(done):
                bench = self.bench
                done = bench.answered(variant, bench.splits.dev, live=False, trails=trails)
        bench.pool.save()
        if trails.asked:
            self.depends = any(bench.asked.get(id) != asked for id, asked in trails.asked.items())
            bench.journal.add("asked", {"depends": self.depends})
        elif known := bench.journal.last("asked"):
            self.depends = known["depends"]
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

    def _retrieval(self) -> Found:
        bench = self.bench
        if self.depends:
            with bench.meter.stage("pool"), no_less("No question could be searched for"):
                variant = Variant("pool", bench.start)
                self.bench = bench.with_asked(bench.learned_from, variant, live=True)
        with bench.meter.stage("retrieval"):
            return self._search(bench.folder)

    def _search(self, folder: Path) -> Found:
        """Search every stage's knobs, the others' being set, and keep the trials in this folder."""
        bench = self.bench
        together = bench.together(bench.learned_from)
        setting, baseline = bench.usable(bench.start), bench.usable(bench.baseline)
        found: dict[str, Search] = {}
        for number, place in enumerate(name for name in setting if name in together.stages):
            own = folder / f"stage-{number + 1}" if len(together.stages) > 1 else folder
            labelled = together.of_stage(place, setting)
            found[place] = search(
                labelled,
                setting[place],
                baseline[place],
                self._settings(place, labelled),
                groups=[bench.learned_from[n].group for n in together.stages[place].questions],
                folder=own,
                progress=bench.progress,
            )
            setting = setting.having(place, found[place].best)
        return Found(setting, found, bool(together.labels.ideal.any()))

    def _settings(self, place: str, labelled: Labelled) -> SearchSettings:
        bench, section = self.bench, self.bench.recipe.compile
        return SearchSettings(
            metric=bench.ranking,
            trials=section.retrieval_trials,
            shortlist=section.shortlist,
            signals=bench.signals(place),
            seed=section.seed,
            neighbours=bool(labelled.relevance.answers.any()),
        )

    def _entries(self, found: Found) -> list[Setting]:
        """The settings that go on to the answers, the search's best first.

        Without a label to search by, some that differ much: the answers alone decide.
        """
        entries = [found.best]
        for place, searched in found.stages.items():
            others = list(searched.shortlist)
            if not found.labelled and self.bench.recipe.compile.retrieval_trials:
                others += unlike(found.best[place], self.bench.signals(place))
            entries += [found.best.having(place, knobs) for knobs in others]
        return list(dict.fromkeys(entries))

    def _halved(self, found: Found) -> list[Setting]:
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
                return prompts
            with bench.under(setting):
                program = bench.program()
                lesson = bench.lesson_at(setting)
                learned = run_optimizer(self.optimizer, program, lesson, log=bench.log)
        tried = [replace(one, number=len(self.tried) + one.number) for one in learned.tried]
        self.tried += tried
        self.judged += [
            Candidate(f"prompts {one.number}", "prompts", bench.usable(setting), one.prompts,
                      one.score, one.questions, demos_in(one.state))
            for one in tried
            if one.dev
        ]  # fmt: skip
        prompts = prompts_of(learned.program)
        if learned.stopped:
            self._cut("prompts", learned.stopped)
        else:
            bench.journal.add("learned", {"setting": number, "prompts": prompts})
        return prompts

    def _searched_again(self, found: Found, entry: Setting, learned: Prompts) -> Found:
        """Where the learned prompts write queries, other passages are found: search once more."""
        bench = self.bench
        if not self.depends or not self._learns:
            return found
        try:
            with bench.meter.stage("pool"):
                variant = Variant("pool", entry, learned)
                self.bench = bench.with_asked(bench.learned_from, variant, live=True)
            with bench.meter.stage("retrieval"):
                return self._search(bench.folder / "again")
        except BudgetSpent as signal:
            self._cut("retrieval under the learned prompts", signal)
            return found

    def _shortlist(self, found: Found, learned: Prompts, entry: Setting) -> Setting:
        """Of the shortlist, the setting with the best answers on dev under the learned prompts.

        Then the best way to put its passages before the reader.
        """
        contest, best = Contest(self.bench, learned, self.judged), entry
        entries = list(dict.fromkeys([entry, *self._entries(found)]))
        with self.bench.meter.stage("shortlist"):
            try:
                ((best, done),) = contest.best("shortlist", entries)
                self._best_so_far(Variant(BOTH, best, learned), done)
                ways = [best, *self._read_otherwise(best)]
                ((best, done),) = contest.best("reading", ways, defends=True)
                self._best_so_far(Variant(BOTH, best, learned), done)
                weights = [best, *self._reranked_otherwise(best)]
                if len(weights) > 1:
                    ((best, done),) = contest.best("reranking", weights, defends=True)
                    self._best_so_far(Variant(BOTH, best, learned), done)
            except BudgetSpent as signal:
                self._cut("shortlist", signal)
        return best

    def _read_otherwise(self, best: Setting) -> list[Setting]:
        """The same ranking, put before the reader in other ways, one stage and way at a time."""
        ways = [
            best.having(place, knobs)
            for place, values in best.items()
            for knobs in (read_otherwise(values) if self.bench.packs(place) else read_more(values))
        ]
        return [way for way in dict.fromkeys(ways) if way != best]

    def _reranked_otherwise(self, best: Setting) -> list[Setting]:
        """The same with other weights of a language model as the reranker, stage by stage."""
        return [
            best.having(place, knobs)
            for place, values in best.items()
            for knobs in reranked_otherwise(values, self.bench.start[place])
        ]

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
        bench, test = self.bench, {}
        reported = [item for item in variants if item.name != START or item in (chosen, other)]
        needed = (BASELINE, chosen.name)
        with bench.meter.stage("test"):
            for variant in sorted(
                reported, key=lambda item: (item.name not in needed, item is not other)
            ):
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


def unlike(start: KnobValues, signals: Sequence[Signal]) -> list[KnobValues]:
    """Ways to rank that differ much from each other, where no label tells which is better.

    Each source alone, all of them alike, and these with each reranker, which weighs as much.
    """
    if len(signals) < 2:
        return []
    none = {signal.weight: 0.0 for signal in signals}
    sources = [signal for signal in signals if signal.source]
    alike = {source.weight: round(1 / len(sources), 4) for source in sources}
    ways: list[dict[str, float]] = [{sources[0].weight: 1.0}, alike]
    ways += [{**alike, source.weight: 1.0} for source in sources[1:]]
    ways += [{**alike, one.weight: 1.0} for one in signals if not one.source]
    return [start.replaced(**{**none, **way}) for way in ways]


def read_more(knobs: KnobValues) -> list[KnobValues]:
    """More passages, for a program that reads all of them as they come."""
    return [knobs.replaced(k=min(50, 2 * knobs.k))]
