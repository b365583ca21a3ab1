"""Below the run of a compile in MLflow: one child run per candidate, and a table per side.

Every call names its run, so that compiles in several threads cannot mix. Knows nothing of the
parent run but its id.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.result import BASELINE, CompileResult
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluate import Evaluation

PARENT = "mlflow.parentRunId"


def log_candidates(client: Any, experiment: str, parent: str, result: CompileResult) -> None:
    """Write a finished child run for everything that was judged by its answers."""
    for candidate in result.candidates:
        _log_candidate(client, experiment, parent, candidate)


def _log_candidate(client: Any, experiment: str, parent: str, candidate: Candidate) -> None:
    from mlflow.entities import Metric, Param

    run = client.create_run(
        experiment,
        run_name=candidate.name,
        tags={PARENT: parent, "stage": candidate.stage},
    )
    params = {f"knobs.{key}": value for key, value in candidate.setting.flat().items()}
    params |= {"stage": candidate.stage, "prompts": candidate.prompts}
    now = int(1000 * time.time())
    client.log_batch(
        run.info.run_id,
        metrics=[
            Metric("dev", candidate.dev, now, 0),
            Metric("dev_questions", float(candidate.questions), now, 0),
        ],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    client.set_terminated(run.info.run_id)


def log_tables(client: Any, run_id: str, result: CompileResult) -> None:
    """Write what every program answered to every question, one table a side."""
    import pandas as pd

    for side, evaluations in (("dev", result.dev), ("test", result.test)):
        failures = result.failures if side == "test" else {}
        named = {result.chosen: failures.get("compiled"), BASELINE: failures.get(BASELINE)}
        rows = [
            row
            for name, evaluation in evaluations.items()
            for row in _rows(name, evaluation, named.get(name) or [None] * len(evaluation.rows))
        ]
        client.log_table(run_id, pd.DataFrame(rows, dtype=object), f"tables/{side}.json")


def _rows(
    name: str, evaluation: Evaluation, failures: Sequence[Failure | None]
) -> list[dict[str, Any]]:
    """One row per question, as MLflow's table shows it."""
    return [
        {
            "program": name,
            "id": row.id,
            "question": row.question,
            "expected": " / ".join(row.expected),
            "answer": row.answer,
            "score": row.score,
            "failure": failure or "",
            "documents": ", ".join(row.documents),
            "seconds": round(row.seconds, 4),
            "tokens": row.prompt_tokens + row.completion_tokens,
            "error": row.error,
        }
        for row, failure in zip(evaluation.rows, failures, strict=True)
    ]
