"""The space of retrieval knobs, and Optuna's walk through it.

Comes in: which signals a program can use. Goes out: one setting after the other, kept in a
journal so that a search goes on where it stopped. Knows nothing of how settings are scored.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.programs.knobs import MOST_NEIGHBOURS, KnobValues
from ragwright.programs.signals import Number, Signal

log = logging.getLogger(__name__)

_STUDY = "retrieval"
_FEW_TRIALS = r"Some regimes for parameter `\w+` have less than"
_DEPTHS = (10, 20, 50, 100)
_DIVERSITIES = (0.0, 0.1, 0.3)
_NEIGHBOURS = tuple(range(MOST_NEIGHBOURS + 1))


@dataclass(frozen=True)
class SearchSettings:
    """What may be tried.

    Attributes:
        metric: What is maximised.
        trials: How many settings Optuna proposes, the seeded ones included.
        shortlist: How many different ways of ranking go on to the answer stage.
        signals: The signals that the program can use, sources first.
        neighbours: Whether to try them: the metric sees them only where answers are looked for.
        seed: Makes the search repeatable.
    """

    metric: RankingMetric
    trials: int
    shortlist: int
    signals: tuple[Signal, ...]
    seed: int = 0
    neighbours: bool = False

    @property
    def sources(self) -> tuple[Signal, ...]:
        """What finds candidates."""
        return tuple(signal for signal in self.signals if signal.source)

    @property
    def rerankers(self) -> tuple[Signal, ...]:
        """What scores candidates that were found."""
        return tuple(signal for signal in self.signals if not signal.source)

    @property
    def numbers(self) -> dict[str, Number]:
        """What else signals can be tuned by, by the names of the knobs."""
        return {s.knob(n): n for s in self.signals for n in s.numbers if n.replayed}


class Walk:
    """A study whose finished trials are kept in an append-only journal.

    Proposals are made in memory: only finished trials are written, one line each. A proposal
    depends on the seed, its number and the trials before it, so that a search that went on after
    an interruption proposes what it would have proposed without.

    Args:
        folder: The run's folder; the journal is `search.jsonl` in it.
        start: What the searched knobs are laid over.
        settings: What may be tried.
    """

    def __init__(self, folder: Path, start: KnobValues, settings: SearchSettings) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "search.jsonl"
        _drop_damaged(self._file)
        journal = optuna.storages.journal.JournalFileBackend(str(self._file))
        self._start, self._settings = start, settings
        with _written():
            self._kept = optuna.create_study(
                study_name=_STUDY,
                storage=optuna.storages.JournalStorage(journal),
                direction="maximize",
                load_if_exists=True,
            )
        self._study = optuna.create_study(direction="maximize")
        self._study.add_trials(self._kept.trials)

    @property
    def done(self) -> list[KnobValues]:
        """Every finished setting, in order."""
        return [_knobs(trial.params, self._start, self._settings) for trial in self._study.trials]

    def step(self, score: Callable[[KnobValues], float]) -> KnobValues:
        """Propose a setting, score it, keep it, return it."""
        import optuna

        number, grid = len(self._study.get_trials(deepcopy=False)), _grid(self._settings)
        seed = self._settings.seed * 100_003 + number
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * len(grid))
        if number < len(grid):
            self._study.enqueue_trial(grid[number])
        trial = self._study.ask()
        knobs = _knobs(_suggest(trial, self._settings), self._start, self._settings)
        told = self._study.tell(trial, score(knobs))
        with _written():
            self._kept.add_trial(told)
        _note_sum(self._file)
        return knobs

    @property
    def importance(self) -> dict[str, float]:
        """Optuna's share of each parameter in what tells good trials apart; they sum to 1."""
        import optuna

        if len({trial.value for trial in self._study.trials}) < 2:
            return {}
        with warnings.catch_warnings():
            # `rrf_constant` is there only where the fusion is "rrf", at times in few trials.
            warnings.filterwarnings("ignore", _FEW_TRIALS, UserWarning)
            found = optuna.importance.get_param_importances(self._study)
        return {name: float(value) for name, value in found.items()}


@contextmanager
def _written() -> Iterator[None]:
    """Say why the journal could not be written: Optuna says that it did not possess the lock.

    Raises:
        OSError: What kept its lock from being made.
    """
    try:
        yield
    except RuntimeError as error:
        reason = error.__context__
        while reason is not None and isinstance(reason.__context__, OSError):
            reason = reason.__context__
        if not isinstance(reason, OSError):
            raise
        raise reason from error


def _note_sum(file: Path) -> None:
    """Note how much of a journal is written, and its checksum."""
    data = file.read_bytes()
    noted = file.with_suffix(".sum")
    partial = noted.with_suffix(".partial")
    partial.write_text(f"{len(data)} {zlib.crc32(data)}", encoding="utf-8")
    partial.replace(noted)


def _drop_damaged(file: Path) -> None:
    """Cut off what is not noted, and delete a journal that is not what was written.

    Its trials cost no calls: they are made again, and come to the same.
    """
    if not file.exists():
        return
    data, noted = file.read_bytes(), file.with_suffix(".sum")
    try:
        size, checksum = map(int, noted.read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        size, checksum = 0, 0
    if len(data) < size or zlib.crc32(data[:size]) != checksum:
        log.warning("The search %r is damaged and is made again.", str(file))
        size = 0
    if size:
        with file.open("r+b") as stream:
            stream.truncate(size)
    else:
        file.unlink()


def _grid(settings: SearchSettings) -> list[dict[str, Any]]:
    """Sensible points to start from: hybrids, with and without a reranker."""
    common: dict[str, Any] = {source.depth: 50 for source in settings.sources} | {"diversity": 0.0}
    common |= {name: number.default for name, number in settings.numbers.items()}
    common |= {"neighbours": 0} if settings.neighbours else {}
    late = {"rerank_depth": 50}
    points: list[dict[str, Any]] = []
    for fusion, share in (("convex", 0.5), ("convex", 0.3), ("convex", 0.7), ("rrf", 0.5)):
        others = settings.sources[1:]
        point = {"fusion": fusion, **common}
        point |= {share_name(source): round(share / len(others), 2) for source in others}
        if fusion == "rrf":
            point["rrf_constant"] = 60
        shares = (0.0, 0.5, 0.9) if settings.rerankers else (0.0,)
        points += [point | ({"rerank_share": s, **late} if settings.rerankers else {})
                   for s in shares]  # fmt: skip
    return points


def _suggest(trial: Any, settings: SearchSettings) -> dict[str, Any]:
    params: dict[str, Any] = {"fusion": trial.suggest_categorical("fusion", ["convex", "rrf"])}
    if params["fusion"] == "rrf":
        params["rrf_constant"] = trial.suggest_categorical("rrf_constant", [10, 20, 60, 100])
    for source in settings.sources[1:]:
        params[share_name(source)] = trial.suggest_float(share_name(source), 0.0, 1.0, step=0.05)
    for source in settings.sources:
        params[source.depth] = trial.suggest_categorical(source.depth, list(_DEPTHS))
    params["diversity"] = trial.suggest_categorical("diversity", list(_DIVERSITIES))
    if settings.neighbours:
        params["neighbours"] = trial.suggest_categorical("neighbours", list(_NEIGHBOURS))
    if settings.rerankers:
        params["rerank_share"] = trial.suggest_float("rerank_share", 0.0, 0.95, step=0.05)
        params["rerank_depth"] = trial.suggest_categorical("rerank_depth", list(_DEPTHS))
    for name, number in settings.numbers.items():
        choices = sorted({*number.choices, number.default})
        params[name] = trial.suggest_categorical(name, choices)
    return params


def share_name(source: Signal) -> str:
    """What the search calls the share of the sources' weight that one of them has."""
    return f"{source.name}_share"


def _knobs(params: Mapping[str, Any], start: KnobValues, settings: SearchSettings) -> KnobValues:
    """Shares, which Optuna searches, as weights, which the selection takes."""
    late = float(params.get("rerank_share", 0.0))
    first, *others = settings.sources
    shares = {source: float(params[share_name(source)]) for source in others}
    whole = max(1.0, sum(shares.values()))
    weights = {source.weight: round((1 - late) * share / whole, 4)
               for source, share in shares.items()}  # fmt: skip
    weights[first.weight] = round(max(0.0, 1 - late - sum(weights.values())), 4)
    weights |= {signal.weight: round(late, 4) for signal in settings.rerankers}
    known = {*KnobValues.model_fields, *settings.numbers, *(s.depth for s in settings.sources)}
    direct = {name: value for name, value in params.items() if name in known}
    return start.replaced(**weights, **direct)
