"""Lays out what a study found for people: a sentence, tables and bars; the numbers for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ragwright.optimize.scoring.statistics import Gain
from ragwright.optimize.study.context import ContextStudy
from ragwright.optimize.study.rerankers import RerankerAtDepth, RerankerStudy
from ragwright.optimize.study.retrieval import RetrievalSetting, RetrievalStudy
from ragwright.optimize.study.writing import Bars, Findings, ReportTable

SAME = 5e-4
"""Means that are closer look equal in a table, and are called alike."""
WAYS = (
    "dense searches by meaning, BM25 by words, hybrid by both; recipe does as the recipe's [knobs] "
    "say. 1 would be what is wanted in the first places for every question."
)


def retrieval_findings(study: RetrievalStudy, name: str) -> Findings:
    """Lay out a study of retrieval."""
    best = max(study.ways, key=lambda way: way.means[study.metric].mean)
    columns = [key for key in best.means if not key.startswith(("document ", "read ", "passages"))]
    documents = [key for key in best.means if key.startswith("document ")]
    read = ["read recall", "read precision", "passages"]
    tables = (
        _ways("By chunk", study.ways, columns,
              "Of the chunks that hold the answer or its evidence, how many stand near the top. "
              "One that brings nothing new does not count again."),
        _ways("By document", study.ways, documents, "A document is found by its best chunk."),
        _ways("As it is read", study.ways, read,
              "What fits k and the context budget: all that a language model gets to see."),
        _comparisons(study),
        _groups(study),
    )  # fmt: skip
    bars = Bars(study.metric, tuple(
        (way.name, *_three(way, study.metric)) for way in study.ways
    ), WAYS)  # fmt: skip
    left_out = f"; {study.unlabelled} have none in the index" if study.unlabelled else ""
    return Findings(
        title=f"Retrieval of {name}",
        summary=f"{_first(study, best)}: {study.metric} {best.means[study.metric].mean:.3f} on "
        f"{study.questions} questions with a label{left_out}.",
        bars=(bars,),
        tables=tuple(table for table in tables if table.rows),
        facts=_retrieval_facts(study),
    )


def reranker_findings(study: RerankerStudy, name: str) -> Findings:
    """Lay out a study of rerankers."""
    best = max(study.rows, key=lambda row: row.mean)
    rows = tuple(
        (row.name, str(row.depth), f"{row.mean:.3f}", *_gained(row.gain), f"{row.p50:.1f}",
         f"{row.p95:.1f}", f"{row.pairs_per_second:,.0f}")
        for row in study.rows
    )  # fmt: skip
    duels = tuple(
        (row.name, row.against, str(row.depth), *_gained(row.gain),
         "yes" if row.not_worse else "not shown", f"{row.questions_to_decide:,}")
        for row in study.rivalries
    )  # fmt: skip
    costs = tuple(
        (name, f"{study.load[name]:.2f}", f"{study.memory[name]:.0f}") for name in study.load
    )
    tables = (
        ReportTable("Quality and time", ("reranker", "depth", study.metric, "gain",
                    "95 % interval", "p", "+ / -", "ms p50", "ms p95", "pairs/s"), rows,
                    f"Gain over the same candidates in their fused order, {study.base:.3f}."),
        ReportTable("One against the other", ("reranker", "against", "depth", "difference",
                    "95 % interval", "p", "+ / -", f"not worse by {study.margin:g}",
                    "questions needed"), duels, "Take the cheaper one where it is not worse."),
        ReportTable("Cost", ("reranker", "first pair, s", "memory, MB"), costs),
    )  # fmt: skip
    drawn = (("none", study.base), *((f"{row.name}, {row.depth}", row.mean) for row in study.rows))
    bars = Bars(
        f"{study.metric} by reranker and depth",
        tuple((one, mean, mean, mean) for one, mean in drawn),
        "A number says how many candidates were scored; none leaves them in their fused order.",
    )
    ranks = "ranks best" if best.mean > study.base else "ranks no better than none"
    return Findings(
        title=f"Rerankers of {name}",
        summary=f"{best.name} at depth {best.depth} {ranks}: {study.metric} {best.mean:.3f}, "
        f"without a reranker {study.base:.3f}, on {study.questions} questions."
        + _faster(study, best),
        bars=(bars,),
        tables=tuple(table for table in tables if table.rows),
        facts=_reranker_facts(study),
    )


def context_findings(study: ContextStudy, name: str) -> Findings:
    """Lay out a study of the context."""
    rows = tuple(
        (row.index, str(row.neighbours), f"{row.budget:,}", f"{row.recall:.3f}",
         f"{loss.gain:+.3f}", f"{loss.low:+.3f} to {loss.high:+.3f}",
         f"{row.tokens:,.0f}", f"{row.passages:.1f}", f"{row.lost:.0%}")
        for row, loss in zip(study.rows, study.losses, strict=True)
    )  # fmt: skip
    prompt = tuple((part, f"{count:,}") for part, count in study.prompt.items())
    chosen, best = study.chosen, study.best
    tables = (
        ReportTable("Recall inside the budget", ("index", "neighbours", "budget", "recall",
                    "difference", "95 % interval", "tokens", "passages", "found, not read"), rows,
                    "Difference: from the best row, paired by question. Found, not read: questions "
                    "whose evidence was among the first 50 passages, but did not fit."),
        ReportTable("The rest of the prompt", ("part", "tokens"), prompt),
        ReportTable("To paste into the recipe", ("recipe.toml",),
                    tuple((line,) for line in study.recipe_lines.splitlines())),
    )  # fmt: skip
    bars = tuple(
        Bars(f"Recall, {index}, {reach} neighbour{'' if reach == 1 else 's'}", tuple(
            (f"{row.budget:,} tokens", row.recall, row.recall, row.recall)
            for row in study.rows if (row.index, row.neighbours) == (index, reach)
        ), "How much of what is wanted fits into so many tokens; neighbours stand beside a passage "
           "in its document, and are read with it.")
        for index, reach in dict.fromkeys((row.index, row.neighbours) for row in study.rows)
    )  # fmt: skip
    return Findings(
        title=f"The context of {name}",
        summary=f"{_enough(study)}, on {study.questions} questions.",
        bars=bars,
        tables=tuple(table for table in tables if table.rows),
        facts={
            "questions": study.questions, "margin": study.margin, "prompt": dict(study.prompt),
            "rows": [asdict(row) for row in study.rows], "best": asdict(best),
            "chosen": asdict(chosen), "recipe": study.recipe_lines, "loss": _facts(study.loss),
        },
    )  # fmt: skip


def _enough(study: ContextStudy) -> str:
    """Say which budget to take, and why none that is smaller."""
    chosen, best, loss = study.chosen, study.best, study.loss
    if chosen == best:
        return (
            f"Take {chosen.budget:,} tokens, for a recall of {chosen.recall:.3f}: every smaller "
            f"context may lose more than {study.margin:g}"
        )
    return (
        f"{chosen.budget:,} tokens are enough: recall {chosen.recall:.3f} with "
        f"{chosen.tokens:,.0f} tokens, the best {best.recall:.3f} with {best.tokens:,.0f} "
        f"(difference {loss.gain:+.3f}, 95 % interval {loss.low:+.3f} to {loss.high:+.3f})"
    )


def _ways(
    title: str, ways: Sequence[RetrievalSetting], keys: Sequence[str], note: str
) -> ReportTable:
    timed = any(not math.isnan(way.p50) for way in ways) and title == "As it is read"
    more = ("tokens", "ms p50", "ms p95") if timed else ("tokens",) if "passages" in keys else ()
    rows = []
    for way in ways:
        cells = [way.name, *(_mean(key, way.means[key].mean) for key in keys)]
        if more:
            cells.append(f"{way.tokens:.0f}")
        if timed:
            cells += [f"{way.p50:.1f}", f"{way.p95:.1f}"]
        rows.append(tuple(cells))
    heads = tuple(key.removeprefix("document ").removeprefix("read ") for key in keys)
    return ReportTable(title, ("way", *heads, *more), tuple(rows), note)


def _mean(key: str, value: float) -> str:
    return f"{value:.1f}" if key == "passages" else f"{value:.3f}"


def _comparisons(study: RetrievalStudy) -> ReportTable:
    rows = tuple(
        (row.name, *_gained(row.gain), _chance(row.p_corrected)) for row in study.comparisons
    )
    columns = ("way", "difference", "95 % interval", "p", "+ / -", "p (Holm)")
    title = f"{study.metric}, against {study.reference}"
    return ReportTable(
        title,
        columns,
        rows,
        "Paired by question; groups are resampled together. Where the interval lies above 0, a way "
        f"is better than {study.reference}: its weights can stand under [knobs] of the recipe.",
    )


def _faster(study: RerankerStudy, best: RerankerAtDepth) -> str:
    """Say what takes less time and is as good."""
    fast = study.fastest
    if fast is best:
        return ""
    return (
        f" {fast.name} at depth {fast.depth} is not worse by more than {study.margin:g}, in "
        f"{fast.p50:.1f} ms instead of {best.p50:.1f}."
    )


def _groups(study: RetrievalStudy) -> ReportTable:
    names = [way.name for way in study.ways]
    rows = tuple(
        (group, *(f"{scores[name]:.3f}" for name in names))
        for group, scores in study.groups.items()
    )
    return ReportTable(f"{study.metric} by group", ("group", *names), rows)


def _gained(gain: Gain) -> tuple[str, str, str, str]:
    return (
        f"{gain.gain:+.3f}",
        f"{gain.low:+.3f} to {gain.high:+.3f}",
        _chance(gain.p),
        f"{gain.wins} / {gain.losses}",
    )


def _chance(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _first(study: RetrievalStudy, best: RetrievalSetting) -> str:
    """Say which way ranks best, or which ones do alike."""
    top = best.means[study.metric].mean
    alike = [way.name for way in study.ways if abs(way.means[study.metric].mean - top) < SAME]
    if len(alike) == len(study.ways):
        return "All ways rank alike"
    return f"{' and '.join(alike)} rank{'s' if len(alike) == 1 else ''} best"


def _three(way: RetrievalSetting, metric: str) -> tuple[float, float, float]:
    mean = way.means[metric]
    return mean.mean, mean.low, mean.high


def _facts(gain: Gain) -> dict[str, Any]:
    return {
        "difference": gain.gain, "low": gain.low, "high": gain.high, "p": gain.p,
        "wins": gain.wins, "losses": gain.losses, "n": gain.n,
    }  # fmt: skip


def _retrieval_facts(study: RetrievalStudy) -> dict[str, Any]:
    return {
        "metric": study.metric,
        "reference": study.reference,
        "questions": study.questions,
        "unlabelled": study.unlabelled,
        "ways": {
            way.name: {
                "knobs": way.knobs.model_dump(mode="json"),
                "means": {key: asdict(mean) for key, mean in way.means.items()},
                "scores": {study.metric: way.scores[study.metric].tolist()},
                "tokens": way.tokens,
                "p50_ms": None if math.isnan(way.p50) else way.p50,
                "p95_ms": None if math.isnan(way.p95) else way.p95,
            }
            for way in study.ways
        },
        "comparisons": [
            {"name": row.name, "against": row.against, "metric": row.metric,
             "p_corrected": row.p_corrected, **_facts(row.gain)}
            for row in study.comparisons
        ],
        "groups": {group: dict(scores) for group, scores in study.groups.items()},
    }  # fmt: skip


def _reranker_facts(study: RerankerStudy) -> dict[str, Any]:
    return {
        "metric": study.metric, "questions": study.questions, "fused": study.base,
        "fastest": {"name": study.fastest.name, "depth": study.fastest.depth},
        "rerankers": [
            {"name": row.name, "depth": row.depth, "mean": row.mean, "p50_ms": row.p50,
             "p95_ms": row.p95, "pairs_per_second": row.pairs_per_second, **_facts(row.gain)}
            for row in study.rows
        ],
        "against": [
            {"name": row.name, "against": row.against, "depth": row.depth,
             "not_worse": row.not_worse, "questions_to_decide": row.questions_to_decide,
             **_facts(row.gain)}
            for row in study.rivalries
        ],
        "first_pair_seconds": dict(study.load), "memory_mb": dict(study.memory),
    }  # fmt: skip
