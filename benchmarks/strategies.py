"""Five ways to tune a program, given as many calls of the language model each, on the same test.

    python benchmarks/strategies.py [--sets squad sample] [--questions 400] [--trials 150]
                                    [--small] [--only default]

A compile of ours says how many calls there are; then a teleprompter learns prompts at the default
setting (dense, five passages), at each of the fixed ways to retrieve with a share of the calls, and
at the setting that a search by labels found; and retrieval and prompts are tuned in turn as CDS4RAG
does (arXiv 2605.08333, rebuilt from its description: cycles, a part of each cycle's calls for the
retriever's numbers and the rest for the generator, which starts from what earlier cycles found;
here the generator's part are prompts). What is asked again is free for all. All choose on dev
alone; test questions are answered once and not counted. The offline reader answers; with `--small`
SmolLM2 as in joint.py, which takes seconds for each: `--only` names the strategies to measure.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dspy
import numpy as np
import optuna

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import METRIC  # noqa: E402
from benchmarks.joint import Setup, shown, small_model  # noqa: E402
from ragwright.optimize import Caps, compile_program  # noqa: E402
from ragwright.optimize.compile import split_questions  # noqa: E402
from ragwright.optimize.prompts.demonstrations import BootstrapRandomSearch  # noqa: E402
from ragwright.optimize.prompts.learning import run_optimizer  # noqa: E402
from ragwright.optimize.prompts.lesson import Lesson  # noqa: E402
from ragwright.optimize.prompts.state import Prompts, prompts_of, set_prompts  # noqa: E402
from ragwright.optimize.questions.data import Question, Splits, read_questions  # noqa: E402
from ragwright.optimize.retrieval.replay import standard_settings  # noqa: E402
from ragwright.optimize.retrieval.search import search_knobs  # noqa: E402
from ragwright.optimize.retrieval.space import SearchSettings  # noqa: E402
from ragwright.optimize.scoring.evaluate import evaluate  # noqa: E402
from ragwright.optimize.scoring.evaluation import Evaluation  # noqa: E402
from ragwright.optimize.scoring.metrics import Metric, build_metric  # noqa: E402
from ragwright.optimize.scoring.statistics import paired_gain  # noqa: E402
from ragwright.optimize.spending.budget import Account, BudgetSpent  # noqa: E402
from ragwright.optimize.spending.metered import MeteredLM  # noqa: E402
from ragwright.optimize.study.pooling import fetch_study_questions  # noqa: E402
from ragwright.programs.build import build_program, build_recipe_lm  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.programs.replies.adapter import ReplyAdapter  # noqa: E402

CYCLES = 3
ENDLESS = 200
"""More sets of demonstrations than any share of the calls lets be tried."""
SHARE = 0.5
"""Of a cycle's calls, for the retriever."""
TESTED = "test"
STRATEGIES = ("default", "each", "search", "turns")


@dataclass(frozen=True)
class Tuned:
    """What a strategy chose on dev: knobs, prompts, the mean that they had there."""

    knobs: KnobValues
    prompts: Prompts
    dev: float = -1.0


@dataclass(frozen=True)
class Task:
    """What every strategy is given."""

    recipe: Recipe
    splits: Splits
    metric: Metric
    folder: Path
    lm: dspy.LM

    def program(self, tuned: Tuned | None = None) -> dspy.Module:
        program = build_program(self.recipe)
        if tuned is not None:
            program.knobs.values = tuned.knobs
            set_prompts(program, tuned.prompts)
        return program

    @property
    def written(self) -> Prompts:
        """The prompts as they were written by hand."""
        return prompts_of(self.program())

    def answered(self, tuned: Tuned, questions: Sequence[Question]) -> Evaluation:
        section = self.recipe.compile
        return evaluate(self.program(tuned), questions, self.metric, threads=section.threads,
                        timeout=section.timeout)  # fmt: skip

    def judged(self, knobs: KnobValues, prompts: Prompts) -> Tuned:
        """Answer dev; a cap may end it."""
        tuned = Tuned(knobs, prompts)
        return replace(tuned, dev=self.answered(tuned, self.splits.dev).mean)

    def taught(self, knobs: KnobValues, *, seed: int = 0) -> Tuned:
        """Learn prompts at a setting until the calls are spent; the best on all of dev."""
        section, train = self.recipe.compile, list(self.splits.train)
        order = np.random.default_rng(seed).permutation(len(train)).tolist() if seed else None
        lesson = Lesson(
            [train[place] for place in order] if order else train, self.splits.dev, self.metric,
            section.threads, lm=dspy.settings.lm,
        )  # fmt: skip
        settings = BootstrapRandomSearch(
            section.max_labeled_demos, section.max_bootstrapped_demos, ENDLESS
        )
        student = self.program(Tuned(knobs, self.written))
        done = run_optimizer(settings, student, lesson, log=self.folder / "optimizer.log")
        best = max((one.score for one in done.tried if one.dev), default=-1.0)
        return Tuned(knobs, prompts_of(done.program), best)

    @contextmanager
    def spending(self, calls: int | None) -> Iterator[Account]:
        """A language model that answers so many calls, what it answered before not counted."""
        account = Account(caps=Caps(calls=calls), stage="tuning")
        lm = MeteredLM(self.lm, account)
        with dspy.context(lm=lm, adapter=ReplyAdapter(self.recipe.lm.format, learns=False)):
            yield account


def at_default(task: Task, calls: int) -> tuple[Tuned, int]:
    """A teleprompter at the setting that the program had."""
    with task.spending(calls) as account:
        return task.taught(task.recipe.baseline), account.spent.calls


def at_each(task: Task, calls: int, ways: Sequence[KnobValues]) -> tuple[Tuned, int]:
    """A teleprompter at each way to retrieve, with an equal share of the calls; the best on dev."""
    found, spent = [], 0
    for knobs in ways:
        with task.spending(calls // len(ways)) as account:
            found.append(task.taught(knobs))
            spent += account.spent.calls
    return max(found, key=lambda one: one.dev), spent


def one_after_the_other(task: Task, calls: int, knobs: KnobValues) -> tuple[Tuned, int]:
    """A search by labels, without a call, then a teleprompter at what it found."""
    with task.spending(calls) as account:
        return task.taught(knobs), account.spent.calls


def in_turn(task: Task, calls: int) -> tuple[Tuned, int]:
    """CDS4RAG: the retriever's numbers by answers, then prompts from the best so far; cycles."""
    best, spent = Tuned(task.recipe.baseline, task.written), 0
    for cycle in range(CYCLES):
        share = calls // CYCLES
        with task.spending(int(share * SHARE)) as account:
            best = _retriever(task, best, seed=cycle)
            spent += account.spent.calls
            left = share - account.spent.calls
        with task.spending(left) as account:
            learned = task.taught(best.knobs, seed=cycle)
            best = max(best, learned, key=lambda one: one.dev)
            spent += account.spent.calls
    return best, spent


def _retriever(task: Task, best: Tuned, *, seed: int) -> Tuned:
    """Propose numbers of the retriever by TPE, from the best so far, and let answers judge them."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    knobs, found = best.knobs, best
    names = ("weight_dense", "weight_bm25", "weight_maxsim")
    study.enqueue_trial({name: knobs.get(name, 0.0) for name in names} | {"k": min(20, knobs.k)})
    try:
        for _ in range(ENDLESS):
            trial = study.ask()
            weights = {name: trial.suggest_float(name, 0.0, 1.0, step=0.1) for name in names}
            if not weights["weight_dense"] + weights["weight_bm25"]:
                study.tell(trial, 0.0)
                continue
            tried = knobs.replaced(**weights, k=trial.suggest_int("k", 1, 20))
            done = task.judged(tried, best.prompts)
            study.tell(trial, done.dev)
            found = max(found, done, key=lambda one: one.dev)
    except BudgetSpent:
        pass
    return found


def searched(task: Task, trials: int) -> tuple[KnobValues, list[KnobValues]]:
    """The setting that ranks best on train and dev, and the fixed ways; all read five passages."""
    asked = fetch_study_questions(task.recipe, [*task.splits.train, *task.splits.dev])
    labelled = asked.labelled()
    signals = sorted(labelled.candidates.by_signal.values(), key=lambda one: not one.source)
    start = task.recipe.knobs
    found = search_knobs(
        labelled, start, task.recipe.baseline, SearchSettings(METRIC, trials, 3, tuple(signals)),
        groups=asked.groups, folder=task.folder / "search",
    )  # fmt: skip
    ways = standard_settings(labelled.candidates).values()
    same = {"k": start.k, "context_tokens": start.context_tokens}
    return found.best, [way.replaced(**same) for way in ways]


def measured(setup: Setup, only: Sequence[str], home: Path) -> None:
    """Tune in every way that is wanted, and print the table."""
    recipe, asked = setup.inputs()
    questions = asked or read_questions(recipe.data.trainset).questions
    section = recipe.compile
    task = Task(recipe, split_questions(recipe, questions),
                build_metric(section.metric, threshold=section.threshold), home,
                setup.lm or build_recipe_lm(recipe))  # fmt: skip
    started = time.perf_counter()
    ours = compile_program(recipe, questions, lm=setup.lm, run_dir=home / "run")
    calls = sum(stage.calls for stage in ours.spend if stage.stage != TESTED)
    table = {"ours": (ours.test["knobs and prompts"], calls, ours.dev["knobs and prompts"].mean,
                      ours.knobs)}  # fmt: skip
    best, ways = searched(task, setup.trials)
    strategies: dict[str, tuple[str, Callable[[], tuple[Tuned, int]]]] = {
        "default": ("a teleprompter at the default setting", lambda: at_default(task, calls)),
        "each": ("a teleprompter at each fixed way", lambda: at_each(task, calls, ways)),
        "search": ("a search by labels, then a teleprompter",
                   lambda: one_after_the_other(task, calls, best)),
        "turns": ("retriever and prompts in turn (CDS4RAG)", lambda: in_turn(task, calls)),
    }  # fmt: skip
    for name in only:
        title, tune = strategies[name]
        tuned, spent = tune()
        with task.spending(None):
            done = task.answered(tuned, task.splits.test)
        table[title] = (done, spent, tuned.dev, tuned.knobs)
    seconds = time.perf_counter() - started
    print(f"\n## {setup.name}: {section.metric} of {setup.reader} on {len(task.splits.test)} "
          f"test questions, {calls} calls each ({seconds:.0f} s)\n")  # fmt: skip
    told(table, [one.group for one in task.splits.test])


def told(table: dict[str, tuple[Evaluation, int, float, KnobValues]], groups: list[str]) -> None:
    print("| strategy | calls | dev | test | ours less it | 95 % interval | better / worse |")
    print("|---|---|---|---|---|---|---|")
    ours = table["ours"][0].scores
    for title, (done, spent, dev, _) in table.items():
        gain = paired_gain(done.scores, ours, groups=groups)
        print(f"| {title} | {spent} | {dev:.3f} | {done.mean:.3f} | {gain.gain:+.3f} "
              f"| {gain.low:+.3f} to {gain.high:+.3f} | {gain.wins} / {gain.losses} |")  # fmt: skip
    for title, (*_, knobs) in table.items():
        print(f"\n{title}: {shown(knobs)}.")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=["squad", "sample"])
    parser.add_argument("--questions", type=int, default=400, help="of each set")
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--small", action="store_true", help="SmolLM2 answers, not the reader")
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with small_model(options.small) as lm:
        for name in options.sets:
            if name != "sample" and not (DATA / name).is_dir():
                print(f"{name}: not at {DATA / name}, left out (set RAG_DATA)")
                continue
            setup = Setup(name, options.questions, options.trials, lm)
            with TemporaryDirectory(ignore_cleanup_errors=True) as home:
                measured(setup, options.only, Path(home))


if __name__ == "__main__":
    main()
