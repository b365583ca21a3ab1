"""Reads YAML that somebody wrote: values alone, and no references."""

from __future__ import annotations

from typing import Any


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        ValueError: It is no YAML, nested too deeply, or has references, by which a few lines are a
            tree that does not end.
    """
    import yaml

    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("it refers to itself")
        return yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except yaml.YAMLError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"it is not YAML: {reason}") from error
