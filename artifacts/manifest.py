"""What an artifact says about itself: the types of `manifest.json`, read and written strictly.

Comes in: facts gathered by whoever saves. Goes out: a frozen `Manifest`. Any key that is not
declared here is an error, so a damaged or foreign file cannot pass for an artifact. Knows neither
DSPy nor MLflow, nor where artifacts lie.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.errors import ArtifactError
from ragwright.retrievers.settings import describe_setting_errors

FORMAT = 1
"""The version of the layout on disk. Raise it when an older release could misread a new one."""

LONGEST_NAME = 200

MANIFEST = "manifest.json"
RECIPE = "recipe.json"
STATE = "state.json"

Verdict = Literal["ship", "ship the cheaper one", "keep the baseline"]


def _plain(name: str) -> str:
    """Refuse what no file system, terminal or page should see as a name."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name has 1 to {LONGEST_NAME} printable characters")
    return name


def _inside(name: str) -> str:
    """Refuse a path that is not plainly one inside the artifact's folder."""
    parts = _plain(name).split("/")
    if "\\" in name or ":" in name or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{name!r} is no path inside an artifact")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
FileName = Annotated[str, AfterValidator(_inside)]


class ManifestTable(BaseModel):
    """A part of the manifest: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Versions(ManifestTable):
    """The releases that the program was saved with."""

    python: str
    ragwright: str
    dspy: str
    chromadb: str


class EmbedderStamp(ManifestTable):
    """The identity of the embedder that made the index's vectors."""

    model: str
    revision: str
    dimension: int
    normalised: bool


class IndexBinding(ManifestTable):
    """The index that the program was tuned on.

    Attributes:
        path: Where it lay, absolute.
        relative: The same, counted from the folder that holds this manifest.
        embedder: Must be the same when the artifact is loaded.
        chunking: Must be the same when the artifact is loaded.
        fingerprint: A hash of stamp and contents; another one means that documents changed.
        generation: How often the index had been written to.
        documents: How many documents it held.
        chunks: How many chunks it held.
    """

    path: str
    relative: str
    embedder: EmbedderStamp
    chunking: ChunkSettings
    fingerprint: str
    generation: int
    documents: int
    chunks: int


class FieldShape(ManifestTable):
    """One field of a signature."""

    name: str
    type: str
    side: Literal["input", "output"]


class Interval(ManifestTable):
    """A mean with its 95 % interval, both in 0 to 1 (differences in -1 to 1)."""

    mean: float
    low: float
    high: float


class Score(ManifestTable):
    """How one of the compared programs did on the test questions."""

    program: str
    value: Interval


class Comparison(ManifestTable):
    """Compiled program against baseline, on test questions that took no part in tuning.

    Attributes:
        metric: The name of the metric.
        n: How many test questions.
        chosen: Which of the compared programs was saved.
        baseline: Score of the baseline.
        compiled: Score of the saved program.
        difference: Compiled minus baseline, question by question.
        p: Two-sided p of the paired permutation test.
        verdict: "ship"; "ship the cheaper one", which is as good for fewer tokens; or "keep the
            baseline".
        programs: Score of each of the compared programs.
    """

    metric: str
    n: int
    chosen: str
    baseline: Interval
    compiled: Interval
    difference: Interval
    p: float
    verdict: Verdict
    programs: tuple[Score, ...] = ()


class DataFacts(ManifestTable):
    """The training set: where it came from, what it held, how it was split.

    Attributes:
        path: The file, as given.
        fingerprint: A hash of every question.
        train: How many questions demonstrations were taken from.
        dev: How many questions selection was made on.
        test: How many questions were reported on.
    """

    path: str
    fingerprint: str
    train: int
    dev: int
    test: int


class Spend(ManifestTable):
    """What compiling cost: calls and tokens of the language model, and wall-clock seconds."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class TrackingRun(ManifestTable):
    """The MLflow run that recorded the compile."""

    uri: str
    run_id: str


class Provenance(ManifestTable):
    """Where a program comes from; empty for one that was saved by hand."""

    data: DataFacts | None = None
    comparison: Comparison | None = None
    seeds: dict[str, int] = Field(default_factory=dict)
    spend: Spend = Spend()
    tracking: TrackingRun | None = None


class StageFacts(ManifestTable):
    """Something that a program of one's own searches with.

    Attributes:
        kind: Its class, and in brackets the classes of what it is made of.
        signals: What it can weigh; knobs are saved for each.
        index: The index that it was tuned on.
    """

    kind: str
    signals: tuple[str, ...]
    index: IndexBinding


class ProgramFacts(ManifestTable):
    """The class of a program of one's own, and what it was made of when it was saved.

    Attributes:
        module: Where the class is imported from.
        name: Of the class.
        version: Of the package that it is from, where it has one.
        fingerprint: A hash of signatures and stages: a program of others is refused.
        stages: What it searches with, by its place in the program.
    """

    module: str
    name: str
    version: str
    fingerprint: str
    stages: dict[str, StageFacts]


class Manifest(ManifestTable):
    """Everything an artifact says about itself.

    Attributes:
        format: The layout on disk, `FORMAT`.
        name: The recipe's name.
        created: When it was saved: UTC, ISO 8601.
        versions: The releases it was saved with.
        language_model: The model it was compiled for.
        index: The index it was tuned on; for a program of one's own the first one, if any.
        program: Its class and its stages, for a program of one's own.
        parameters: The names of the program's parameters, in order.
        signatures: For each predictor its fields, in order: state is restored by position.
        provenance: Data, scores, seeds and spend.
        files: SHA-256 of every other file of the artifact, by relative path.
    """

    format: int = FORMAT
    name: PlainName
    created: str
    versions: Versions
    language_model: str
    index: IndexBinding | None = None
    program: ProgramFacts | None = None
    parameters: tuple[str, ...]
    signatures: dict[str, tuple[FieldShape, ...]]
    provenance: Provenance = Provenance()
    files: dict[FileName, str]

    @property
    def bindings(self) -> tuple[IndexBinding, ...]:
        """Every index that the program was tuned on, each once."""
        if self.program is None:
            return () if self.index is None else (self.index,)
        found = {stage.index.path: stage.index for stage in self.program.stages.values()}
        return tuple(found.values())

    @classmethod
    def parse(cls, text: str, *, source: str) -> Manifest:
        """Read a manifest.

        Raises:
            ArtifactError: It is not JSON, of another format, or not exactly a manifest.
        """
        table = parse_json(text, source=source)
        found = table.get("format") if isinstance(table, dict) else None
        if found != FORMAT:
            raise ArtifactError(
                f"{source!r} has format {found!r}, and this release reads format {FORMAT}.",
                hint="Load it with the ragwright release that saved it, or compile again.",
            )
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise ArtifactError(
                f"Wrong manifest {source!r}: {describe_setting_errors(error)}.",
                hint="Restore the file or compile again.",
            ) from error

    def dump(self) -> str:
        """Return the text of `manifest.json`."""
        return self.model_dump_json(indent=2) + "\n"


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""What may be half a pair, so that few files have to be looked at twice."""


def parse_json(text: str, *, source: str) -> object:
    """Read JSON from an artifact's file.

    Raises:
        ArtifactError: It is not JSON: cut off, say, or nested beyond reason; or it holds half a
            surrogate pair, which nothing can be written or sent with.
    """
    try:
        value: object = json.loads(text)
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{source!r} is damaged: {error}.", hint="Restore the file or compile again."
        ) from error
    return value
