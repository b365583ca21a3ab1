"""Cleans up the token counts that a language model's server reports: it may be anything."""

from __future__ import annotations

from typing import Any, Self

from dspy.utils.usage_tracker import UsageTracker

MOST_TOKENS = 10**9
"""More than any call has."""


class SharedUsage(UsageTracker):
    """Counts what all threads of a program use.

    DSPy gives each thread of `dspy.Parallel` and `batch` a copy of what counts, whose tokens nobody
    adds up.
    """

    @property
    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens, summed over all models."""
        totals = self.get_total_tokens().values()
        prompt = sum(reported_tokens(entry.get("prompt_tokens")) for entry in totals)
        completion = sum(reported_tokens(entry.get("completion_tokens")) for entry in totals)
        return prompt, completion

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def reported_tokens(count: Any) -> int:
    """Return a number of tokens that a server reports, which may be anything: none below 0, and
    none that a database or a counter cannot hold."""
    told = count if isinstance(count, int | float) and count == count else 0  # noqa: PLR0124 - NaN
    return int(min(max(told, 0), MOST_TOKENS))


def plain_usage(told: Any) -> dict[str, Any] | None:
    """Return the usage of a reply with whole numbers of tokens; what is no number is left out."""
    if not isinstance(told, dict):
        return None
    plain = {name: _plain(name, value) for name, value in told.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(name: str, value: Any) -> Any:
    if name.endswith("_tokens"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return reported_tokens(value) if number else None
    return plain_usage(value) if name.endswith("_details") else value
