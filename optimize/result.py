"""What a compile returns: frozen facts, enough for the report, the artifact and the tracking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.prompts.learning import PromptTrial
from ragwright.optimize.prompts.state import Prompts, prompts_of
from ragwright.optimize.questions.data import Question, Splits
from ragwright.optimize.questions.leakage import Leakage
from ragwright.optimize.retrieval.gate import GatedSource
from ragwright.optimize.retrieval.replay import RetrievalRow
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.optimize.scoring.familiarity import FamiliarityGroup
from ragwright.optimize.scoring.statistics import Gain, Verdict, holm_correction
from ragwright.optimize.setting import Setting
from ragwright.optimize.spending.spend import StageSpend
from ragwright.optimize.variants import VariantChoice
from ragwright.programs.knobs import KnobValues
from ragwright.programs.recipe import Recipe
from ragwright.retrievers import html
from ragwright.retrievers.types import content_hash

BASELINE = "baseline"
START = "start"
KNOBS_ONLY = "knobs only"
PROMPTS_ONLY = "prompts only"
BOTH = "knobs and prompts"


@dataclass(frozen=True)
class Variant:
    """One of the programs that are compared.

    Attributes:
        name: "baseline", "start", "knobs only", "prompts only" or "knobs and prompts"; on the
            way there, the stage that has it answer.
        setting: The knobs of its stages.
        prompts: The prompts it has; None for the ones written by hand.
    """

    name: str
    setting: Setting
    prompts: Prompts | None = None

    @property
    def knobs(self) -> KnobValues:
        """The knobs of the first stage."""
        return self.setting.first


@dataclass(frozen=True)
class MetricPart:
    """One part of a metric that is a sum, on test.

    Attributes:
        name: Such as "citation_f1".
        baseline: Mean of the baseline.
        compiled: Mean of the compiled program.
        gain: Compiled against baseline.
    """

    name: str
    baseline: float
    compiled: float
    gain: Gain


@dataclass(frozen=True)
class CompileInputs:
    """What a compile was made from.

    Attributes:
        sizes: Number of questions on each side.
        duplicates: Rows that repeat a question, and were joined with it.
        data: Fingerprint of the training set.
        index: Fingerprint of the index.
        lm: Identity of the language model, without keys.
        labels: Which labels retrieval was judged by, with counts.
        leakage: What of the test side was seen before.
        looks: How many runs have looked at this test side, this one included.
    """

    sizes: Mapping[str, int]
    duplicates: int
    data: str
    index: str
    lm: str
    labels: str
    leakage: Leakage
    looks: int


@dataclass(frozen=True, repr=False)
class CompileResult:
    """The compiled program, and what is known about it.

    Attributes:
        program: Holds the chosen knobs and prompts, and no language model.
        student: The program as it was, with the prompts written by hand.
        recipe: What it was compiled from.
        run_dir: Where journal, LM calls, evaluations, search study and logs lie.
        chosen: Name of the variant that was chosen on dev, or of the cheaper one that dev named
            beside it.
        setting: The knobs of its stages.
        baseline_setting: Those of the program that it was compared with.
        start: Those that the search started from.
        dev: Evaluations on dev by variant; everything was selected on these.
        test: Evaluations on test by variant, made once, after the choice.
        gain: Compiled against baseline on test.
        ablation: Gain over the baseline on test, by variant.
        decided: The verdict.
        why: What the verdict rests on, in a sentence, where it is not the gain alone.
        comparisons: Gains of knobs and prompts together over either alone and over the start, on
            test, by a name such as "knobs and prompts - prompts only".
        over_start: Compiled against the start on test, where that is neither of the two.
        parts: Compiled against baseline on test, by the parts of a metric that is a sum.
        familiar: The same on documents that train or dev asked about, and on others.
        candidates: Everything that was judged by its answers on dev, in order.
        searches: How the knobs of each stage were found, by its place.
        sources: What became of the sources that were to be learned.
        retrieval: Ways of retrieving, compared on test.
        failures: For baseline and compiled, where each test question fails; None if it does not.
        inputs: What it was made from.
        splits: The questions by side.
        spend: Calls, tokens and seconds by stage.
        notes: Anything a reader should know, in plain words.
        tried: Every program that the prompt optimizer evaluated.
        stopped: Which stages a cap cut short, and why; empty if none.
        variants: How the index was chosen, where the recipe names variants of it.
        written: What a model wrote for the optimizer, and could not be used.
        tracking: `uri` and `run_id` of the MLflow run that recorded it, if one did.
    """

    program: Any
    student: Any
    recipe: Recipe
    run_dir: str
    chosen: str
    setting: Setting
    baseline_setting: Setting
    start: Setting
    dev: Mapping[str, Evaluation]
    test: Mapping[str, Evaluation]
    gain: Gain
    ablation: Mapping[str, Gain]
    candidates: tuple[Candidate, ...]
    searches: Mapping[str, Search]
    retrieval: tuple[RetrievalRow, ...]
    failures: Mapping[str, tuple[Failure | None, ...]]
    inputs: CompileInputs
    splits: Splits
    spend: tuple[StageSpend, ...]
    notes: tuple[str, ...]
    decided: Verdict = "keep the baseline"
    why: str = ""
    comparisons: Mapping[str, Gain] = field(default_factory=dict)
    over_start: Gain | None = None
    parts: tuple[MetricPart, ...] = ()
    familiar: tuple[FamiliarityGroup, ...] = ()
    sources: tuple[GatedSource, ...] = ()
    tried: tuple[PromptTrial, ...] = ()
    stopped: tuple[str, ...] = ()
    variants: VariantChoice | None = None
    tracking: Mapping[str, str] | None = None
    written: tuple[str, ...] = ()

    @property
    def knobs(self) -> KnobValues:
        """The knobs of the first stage: all there is to a program of one."""
        return self.setting.first

    @property
    def search(self) -> Search:
        """How the knobs of the first stage were found."""
        nothing = Search(self.start.first, (), ())
        return next(iter(self.searches.values()), nothing)

    def __repr__(self) -> str:
        """What a prompt shows: the verdict in a line, not the thousands of facts it rests on."""
        gain = self.gain
        return (
            f"CompileResult({self.verdict!r}: {self.metric} {self.baseline.mean:.3f} -> "
            f"{self.compiled.mean:.3f}, gain {gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] "
            f"on {gain.n} test questions)"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, and every program's score and gain on test."""
        rows = [(name, done.mean, *_gained(self.ablation.get(name))) for name, done
                in self.test.items()]  # fmt: skip
        head = f"<p><b>{html.html_text_of(self.verdict)}</b> {html.html_text_of(self.why)}</p>"
        columns = ("program", self.metric, "gain", "low", "high", "p")
        return head + html.html_table(columns, rows)

    @property
    def metric(self) -> str:
        """What people call the metric: a function of a script or notebook by its name alone."""
        return self.recipe.compile.metric.replace("__main__:", "")

    @property
    def verdict(self) -> Verdict:
        """Ship, ship a cheaper program that is as good, or keep the baseline."""
        return self.decided

    @property
    def corrected(self) -> Mapping[str, float]:
        """The p of every variant's gain, corrected for their number (Holm)."""
        return holm_correction(
            {name: gain.p for name, gain in self.ablation.items() if name != BASELINE}
        )

    @property
    def corrected_parts(self) -> Mapping[str, float]:
        """The p of every part's gain, corrected for all metrics that are claimed, their sum too."""
        claimed = {part.name: part.gain.p for part in self.parts}
        return holm_correction({**claimed, self.recipe.compile.metric: self.gain.p})

    def __deepcopy__(self, memo: dict[int, Any]) -> CompileResult:
        """It hangs on the program that it compiled, and is copied with it: these are facts."""
        return self

    @property
    def provenance(self) -> dict[str, Any]:
        """Data, scores, seeds and spend in plain values, as an artifact's manifest has them."""
        gain, recipe = self.gain, self.recipe
        scores = [{"program": name, "value": _span(done)} for name, done in self.test.items()]
        return {
            "data": {"path": recipe.data.trainset, "fingerprint": self.inputs.data,
                     **self.inputs.sizes},
            "comparison": {
                "metric": recipe.compile.metric,
                "n": gain.n,
                "chosen": self.chosen,
                "baseline": _span(self.baseline),
                "compiled": _span(self.compiled),
                "difference": {"mean": gain.gain, "low": gain.low, "high": gain.high},
                "p": gain.p,
                "verdict": self.verdict,
                "programs": scores,
            },
            "seeds": {"data": recipe.data.seed, "compile": recipe.compile.seed},
            "spend": {name: sum(getattr(stage, name) for stage in self.spend) for name in _SPENT},
            "tracking": self.tracking,
        }  # fmt: skip

    @property
    def golden(self) -> list[dict[str, Any]]:
        """The test questions with what the compiled program gave, but for those that failed."""
        asked = {question.id: question for question in self.splits.test}
        return [golden_facts(asked[row.id], row) for row in self.compiled.rows if not row.error]

    @property
    def identity(self) -> str:
        """What was found, as a hash: the same for a run that is resumed and finds nothing else."""
        scores = {name: [row.score for row in done.rows] for name, done in self.test.items()}
        found = [self.chosen, self.setting.dump(), prompts_of(self.program), scores]
        return content_hash(json.dumps(found, sort_keys=True, default=str))

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What language models wrote where no answer, and no prompt, could be read."""
        done = (*self.dev.values(), *self.test.values())
        answers = (reply for one in done for reply in one.unreadable)
        return tuple(dict.fromkeys((*answers, *self.written)))

    @property
    def baseline(self) -> Evaluation:
        """The baseline on test."""
        return self.test[BASELINE]

    @property
    def compiled(self) -> Evaluation:
        """The compiled program on test."""
        return self.test[self.chosen]


_SPENT = ("calls", "prompt_tokens", "completion_tokens", "seconds")


def _span(done: Evaluation) -> dict[str, float]:
    found = done.interval()
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _gained(gain: Gain | None) -> tuple[object, ...]:
    return ("", "", "", "") if gain is None else (gain.gain, gain.low, gain.high, gain.p)


def golden_facts(question: Question, row: EvaluationRow) -> dict[str, Any]:
    """Return a question with what a program gave for it, in plain values."""
    example = {} if question.example is None else question.example.toDict()
    inputs = () if question.example is None else question.example.inputs().toDict()
    return {
        "id": question.id,
        "question": question.question,
        "answers": list(question.answers),
        "documents": list(question.documents),
        "evidence": list(question.evidence),
        "example": {name: to_jsonable_python(value, fallback=str, inf_nan_mode="null")
                    for name, value in example.items()},
        "inputs": list(inputs),
        "given": row.given,
    }  # fmt: skip
