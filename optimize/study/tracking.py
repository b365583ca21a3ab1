"""Records a study as an MLflow run, and below it a run for all that it tried.

What was tried has its settings as parameters and its figures as metrics, so that MLflow's columns
and charts put ways of retrieving, rerankers by depth or budgets side by side.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragwright.optimize.report.mlflow_candidates import PARENT, round_figures
from ragwright.optimize.report.mlflow_run import NOTE, experiment_id
from ragwright.optimize.study.context import ContextStudy
from ragwright.optimize.study.rerankers import RerankerStudy
from ragwright.optimize.study.retrieval import RetrievalStudy
from ragwright.optimize.study.writing import Findings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import RecordFault
from ragwright.retrievers.mlflow_database import mlflow_client

Study = RetrievalStudy | RerankerStudy | ContextStudy

STAGE = "study"
"""The tag `stage` of a study's run; the runs below it have `tried`."""


@dataclass(frozen=True)
class StudyTrial:
    """One thing that a study tried.

    Attributes:
        name: Such as "hybrid", "a reranker, 20 deep" or "512 tokens".
        settings: What tells it from the others.
        figures: What came of it, by MLflow's metric.
    """

    name: str
    settings: Mapping[str, Any]
    figures: Mapping[str, float]


def track_study(
    study: Study,
    findings: Findings,
    report: Path,
    *,
    recipe: Recipe,
    tracking_uri: str,
    artifact_location: Path,
) -> str:
    """Record a study beside the compiles of the same recipe, and return the id of its run.

    Args:
        study: What was measured.
        findings: The same as people read it; its tables become MLflow's tables.
        report: The folder that `write_findings` wrote.
        recipe: Names the experiment, and gives tags.
        tracking_uri: The store, such as "sqlite:////home/me/rag/mlflow.db".
        artifact_location: The folder for files of a new experiment.

    Raises:
        RecordFault: The store cannot be written.
    """
    with _recorded(tracking_uri):
        client = mlflow_client(tracking_uri)
        experiment = experiment_id(client, recipe.name, artifact_location)
        kind = report.name
        note = f"**{findings.summary}**\n\nThe whole page is the artifact `report/study.html`."
        tags = {**recipe.tracking.tags, "stage": STAGE, "study": kind, NOTE: note}
        tried = study_trials(study)
        best = max(tried, key=lambda one: one.figures[main_metric(study)])
        run = client.create_run(experiment, run_name=f"study {kind}: {best.name}", tags=tags)
        run_id = str(run.info.run_id)
        _log(client, run_id, {"questions": study.questions, "best": best.name}, best.figures)
        client.log_artifacts(run_id, str(report), "report")
        _log_tables(client, run_id, findings)
        for one in tried:
            below = client.create_run(
                experiment, run_name=one.name, tags={PARENT: run_id, "stage": "tried"}
            )
            _log(client, below.info.run_id, one.settings, one.figures)
            client.set_terminated(below.info.run_id)
        client.set_terminated(run_id)
    return run_id


def main_metric(study: Study) -> str:
    """The metric that a study compares on, as MLflow writes it."""
    return "recall" if isinstance(study, ContextStudy) else _key(study.metric)


def study_trials(study: Study) -> tuple[StudyTrial, ...]:
    """Everything that a study tried, in its order."""
    if isinstance(study, RetrievalStudy):
        return _ways(study)
    return _rerankers(study) if isinstance(study, RerankerStudy) else _fillings(study)


def _ways(study: RetrievalStudy) -> tuple[StudyTrial, ...]:
    found = []
    for way in study.ways:
        figures = {_key(name): mean.mean for name, mean in way.means.items()}
        figures |= {"tokens": way.tokens, "ms_p50": way.p50, "ms_p95": way.p95}
        settings = {"way": way.name, **way.knobs.model_dump(mode="json")}
        found.append(StudyTrial(way.name, settings, _known(figures)))
    return tuple(found)


def _rerankers(study: RerankerStudy) -> tuple[StudyTrial, ...]:
    return tuple(
        StudyTrial(
            f"{row.name}, {row.depth} deep",
            {"reranker": row.name, "depth": row.depth},
            {_key(study.metric): row.mean, "gain": row.gain.gain, "ms_p50": row.p50,
             "ms_p95": row.p95, "pairs_per_second": row.pairs_per_second},
        )
        for row in study.rows
    )  # fmt: skip


def _fillings(study: ContextStudy) -> tuple[StudyTrial, ...]:
    return tuple(
        StudyTrial(
            f"{row.index}, {row.budget} tokens, {row.neighbours} neighbours",
            {"index": row.index, "context_tokens": row.budget, "neighbours": row.neighbours},
            {"recall": row.recall, "tokens": row.tokens, "passages": row.passages,
             "found_not_read": row.lost},
        )
        for row in study.rows
    )  # fmt: skip


def _log(
    client: Any, run_id: str, settings: Mapping[str, Any], figures: Mapping[str, float]
) -> None:
    from mlflow.entities import Metric, Param

    now = int(1000 * time.time())
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in round_figures(figures).items()],
        params=[Param(name, str(value)) for name, value in settings.items()],
    )


def _log_tables(client: Any, run_id: str, findings: Findings) -> None:
    import pandas as pd

    for table in findings.tables:
        name = "".join(letter if letter.isalnum() else "_" for letter in table.title.casefold())
        cells = pd.DataFrame(table.rows, columns=list(table.columns), dtype=object)
        client.log_table(run_id, cells, f"tables/{name}.json")


def _key(metric: str) -> str:
    """A metric as MLflow allows and writes it: "ndcg@10" is "ndcg_at_10"."""
    return metric.replace("@", "_at_").replace(" ", "_")


def _known(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not math.isnan(value)}


@contextmanager
def _recorded(store: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RecordFault(
            f"The study cannot be recorded in {store!r}: {reason}.",
            hint="Its report is written; make room, or measure with --no-track.",
        ) from error
