"""The prompts of a program in MLflow's prompt registry: versioned, and with the artifact's aliases.

One prompt a predictor, as messages with `{{field}}` where a question's own values will stand. The
first version is what was written by hand, so that MLflow shows what was learned as a difference.
Nothing reads them back: an artifact holds its own prompts.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ragwright.artifacts.mlflow_internals import prompt_registry
from ragwright.artifacts.prompts import file_names, messages_of
from ragwright.artifacts.versions import CANDIDATE
from ragwright.retrievers.errors import ArtifactError
from ragwright.retrievers.types import content_hash

log = logging.getLogger(__name__)

HASH = "ragwright.prompt"
"""The tag of a prompt's version that holds a hash of its messages."""
LONGEST = 90_000
"""Characters of a version's text; MLflow takes 100,000."""
LINKED = "mlflow.linkedPrompts"
"""The tag of a run that holds the prompts it made or used."""
_IS_PROMPT = {"mlflow.prompt.is_prompt": "true"}
_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9_.-]")


@dataclass(frozen=True)
class PromptVersion:
    """A prompt's version in the registry."""

    name: str
    version: int


def register_prompts(
    client: Any,
    program: dspy.Module,
    *,
    name: str,
    run_id: str,
    before: dspy.Module | None = None,
) -> tuple[PromptVersion, ...]:
    """Register the prompts of a compiled program, tie them to its run, and call them candidate.

    A prompt that says the same as an earlier version stays that version.

    Args:
        client: An `MlflowClient`.
        program: Whose prompts.
        name: The artifact's name; a predictor's prompt is `name.predictor`.
        run_id: The run that compiled them.
        before: The program as it was written; its prompts come first where there are none yet.
    """
    experiment = client.get_run(run_id).info.experiment_id
    written = dict(before.named_predictors()) if before is not None else {}
    kept: list[PromptVersion] = []
    named = program.named_predictors()
    files = file_names(place for place, _ in named)
    for place, predictor in named:
        try:
            messages = messages_of(predictor)
        except ArtifactError:  # no text to keep: nothing is asked by it
            continue
        prompt = _UNNAMEABLE.sub("_", f"{name}.{files[place]}")
        _begin(client, prompt, experiment)
        if place in written and not _versions(client, prompt):
            _version(client, prompt, messages_of(written[place]), "As written by hand.")
        said = f"{len(predictor.demos)} demonstrations, compiled by run {run_id}."
        found = _version(client, prompt, messages, said)
        client.set_prompt_alias(prompt, CANDIDATE, found)
        kept.append(PromptVersion(prompt, found))
    linked = json.dumps([{"name": one.name, "version": str(one.version)} for one in kept])
    client.set_tag(run_id, LINKED, linked)
    return tuple(kept)


def mirror_prompts(client: Any, run_id: str, alias: str) -> None:
    """Give the prompts of a run an alias that its artifact has."""
    for one in linked_in(client.get_run(run_id).data.tags, LINKED):
        name, version = str(one.get("name")), str(one.get("version"))
        if version.isdecimal():
            client.set_prompt_alias(name, alias, int(version))


def linked_in(tags: Mapping[str, str], tag: str) -> list[dict[str, Any]]:
    """Return the list of tables that a tag holds; what is none of these is left out, and said."""
    try:
        held = json.loads(tags.get(tag, "[]"))
    except (ValueError, RecursionError):
        held = None
    found = [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []
    if not isinstance(held, list) or len(found) < len(held):
        log.warning("The tag %r in MLflow was written by something else: %r", tag, tags[tag][:200])
    return found


def _begin(client: Any, prompt: str, experiment: str) -> None:
    """Make a prompt, if it is missing, and show it among those of the experiment."""
    registry, key = prompt_registry(client), "_mlflow_experiment_ids"
    found = client.get_prompt(prompt)
    if found is None:
        registry.create_registered_model(prompt, {**_IS_PROMPT, key: f",{experiment},"})
        return
    known = [one for one in found.tags.get(key, "").split(",") if one]
    if experiment not in known:
        client.set_prompt_tag(prompt, key, f",{','.join([*known, experiment])},")


def _versions(client: Any, prompt: str) -> dict[str, int]:
    """The versions of a prompt, by the hash of what they say."""
    wanted = f"name = '{prompt}' AND tags.`mlflow.prompt.is_prompt` = 'true'"
    found = prompt_registry(client).search_model_versions(wanted)
    return {one.tags[HASH]: int(one.version) for one in found if HASH in one.tags}


def _version(
    client: Any,
    prompt: str,
    messages: Sequence[Mapping[str, str]],
    said: str,
) -> int:
    """Return the version that says this; made if there is none.

    Not by `register_prompt`: that looks up an experiment in MLflow's global store, and changes
    its prompt in a thread of its own.
    """
    text = json.dumps(list(messages), ensure_ascii=False)
    if len(text) > LONGEST:
        cut = "The prompt is too long for MLflow: see `prompts/` in the artifact."
        text = json.dumps([{"role": "system", "content": cut}])
    digest = content_hash(text)
    if (known := _versions(client, prompt).get(digest)) is not None:
        return known
    made = prompt_registry(client).create_model_version(
        prompt,
        "dummy-source",
        description=said,
        tags={
            **_IS_PROMPT,
            HASH: digest,
            "_mlflow_prompt_type": "chat",
            "mlflow.prompt.text": text,
        },
    )
    return int(made.version)
