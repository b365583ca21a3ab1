"""The content of `report.json`: what the page of a report shows, for programs to read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ragwright.optimize.report.view import Pair, View
from ragwright.optimize.result import CompileResult
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluation import EvaluationRow
from ragwright.optimize.scoring.familiarity import FamiliarityGroup


def report_facts(view: View) -> dict[str, Any]:
    """Return the report as plain JSON types."""
    result = view.result
    return {
        "name": result.recipe.name,
        "verdict": result.verdict,
        "summary": view.sentence,
        "metric": result.recipe.compile.metric,
        "chosen": result.chosen,
        "gain": asdict(result.gain),
        "why": result.why,
        "comparisons": {name: asdict(gain) for name, gain in result.comparisons.items()},
        "parts": [
            {**asdict(part), "p_corrected": result.corrected_parts[part.name]}
            for part in result.parts
        ],
        "familiar": [_familiar(one) for one in result.familiar],
        "learned": [one.facts for one in result.sources],
        "programs": [asdict(line) for line in view.lines],
        "knobs": result.setting.flat(),
        "baseline_knobs": result.baseline_setting.flat(),
        "stages": result.setting.dump(),
        "retrieval": [
            {"name": row.name, "n": row.n, "k": row.k, **row.means} for row in result.retrieval
        ],
        "variants": asdict(result.variants) if result.variants else None,
        "search": _search(result, result.search),
        "searches": {place: _search(result, found) for place, found in result.searches.items()},
        "failures": view.failures,
        "inputs": asdict(result.inputs),
        "seeds": {"split": result.recipe.data.seed, "compile": result.recipe.compile.seed},
        "spend": [asdict(stage) for stage in result.spend],
        "notes": list(result.notes),
        "questions": [_question(pair) for pair in view.pairs],
    }


def _familiar(one: FamiliarityGroup) -> dict[str, Any]:
    """A mean of no question is no number."""
    return asdict(one) if one.n else {"name": one.name, "n": 0}


def _search(result: CompileResult, found: Search) -> dict[str, Any]:
    return {
        "metric": result.recipe.compile.retrieval_metric,
        "gain": found.gain,
        "standard_error": found.standard_error,
        "questions": found.questions,
        "importance": dict(found.importance),
        "trials": [{"score": trial.score, **trial.knobs.model_dump()} for trial in found.trials],
    }


def _question(pair: Pair) -> dict[str, Any]:
    """Both answers to a question; the contexts stand on the page only."""
    return {
        "id": pair.baseline.id,
        "question": pair.baseline.question,
        "expected": list(pair.baseline.expected),
        "baseline": _answer(pair.baseline, pair.baseline_failure),
        "compiled": _answer(pair.compiled, pair.compiled_failure),
    }


def _answer(row: EvaluationRow, failure: Failure | None) -> dict[str, Any]:
    return {
        "answer": row.answer,
        "score": row.score,
        "documents": list(row.documents),
        "citations": list(row.citations),
        "seconds": row.seconds,
        "error": row.error,
        "failure": failure,
    }
