"""Names in, language models out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.metered import MeteredLM
from ragwright.optimize.spending.patient import PatientLM
from ragwright.programs.extractive import ExtractiveEngine
from ragwright.programs.extractive.weights import reader_version
from ragwright.programs.lm import build_lm, can_write, lm_identity
from ragwright.programs.remote import RemoteLM
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.errors import ModelError


def test_extractive_is_the_offline_engine() -> None:
    lm = build_lm("extractive")
    assert isinstance(lm.engine, ExtractiveEngine)
    assert (lm.model, lm.cache) == (f"local/extractive-v2-{reader_version()}", False)


def test_the_offline_model_is_the_same_whatever_the_index_is_embedded_with() -> None:
    assert build_lm("extractive", embedder="hash").model == build_lm("extractive").model


def test_the_offline_engine_is_never_cached() -> None:
    assert build_lm("extractive", cache=True).cache is False


def test_a_server_of_ones_own_is_asked_anew_unless_told_otherwise() -> None:
    there = {"api_base": "http://127.0.0.1:1/v1"}
    assert build_lm("openai/m", **there).cache is False
    assert build_lm("openai/m", cache=True, **there).cache is True
    assert build_lm("openai/m").cache is True


def test_anything_else_is_a_model_string() -> None:
    lm = build_lm("openai/gpt-4o-mini", temperature=0.3, max_tokens=50, cache=False)
    assert (lm.model, lm.cache) == ("openai/gpt-4o-mini", False)
    assert (lm.kwargs["temperature"], lm.kwargs["max_tokens"]) == (0.3, 50)


@pytest.mark.parametrize("name", ["", " ", "extractiv", "openai/", "/gpt-4o", None])
def test_what_is_not_a_model_string_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"is not a language model.*'extractive'"):
        build_lm(name)


def test_keys_come_from_the_environment_only() -> None:
    with pytest.raises(ModelError, match=r"OPENAI_API_KEY") as refused:
        build_lm("openai/gpt-4o-mini", api_key="sk-secret")
    assert "sk-secret" not in str(refused.value)


def test_the_offline_engine_refuses_a_server() -> None:
    with pytest.raises(ModelError, match=r"cannot be set up.*api_base"):
        build_lm("extractive", api_base="http://localhost:1")


def test_identity_is_stable_and_tells_settings_apart() -> None:
    warm = build_lm("openai/gpt-4o-mini", temperature=0.7)
    assert lm_identity(warm) == 'openai/gpt-4o-mini {"temperature": 0.7}'
    assert lm_identity(warm) == lm_identity(build_lm("openai/gpt-4o-mini", temperature=0.7))
    assert lm_identity(build_lm("openai/gpt-4o-mini")) == "openai/gpt-4o-mini"
    assert lm_identity(build_lm("extractive")) == build_lm("extractive").model


def test_identity_holds_no_secrets() -> None:
    lm = dspy.LM(
        "openai/x", api_key="sk-secret", api_base="https://user:pass@example.org:8000/v1?token=t"
    )
    assert lm_identity(lm) == 'openai/x {"server": "example.org:8000/v1"}'


def test_only_generative_models_can_write() -> None:
    assert not can_write("extractive")
    assert not can_write(build_lm("extractive"))
    assert can_write("openai/gpt-4o-mini")
    assert can_write(build_lm("openai/gpt-4o-mini"))
    assert can_write(DummyLM([{"answer": "x"}]))


def test_a_reply_that_was_cut_off_names_the_key_to_raise_once() -> None:
    build_lm("openai/m", api_base="http://127.0.0.1:9/v1")
    log = logging.getLogger("dspy.clients.lm")
    told = [one for one in log.filters if type(one).__name__ == "_CutReplies"]
    assert len(told) == 1
    records = [
        logging.LogRecord(log.name, logging.WARNING, "", 0, "LM response was truncated", (), None)
        for _ in range(2)
    ]
    told[0].said = False  # type: ignore[union-attr]
    assert [bool(log.filter(one)) for one in records] == [True, False]
    assert "max_tokens under [lm]" in records[0].getMessage()


@pytest.mark.parametrize("setting", [{"timeout": 5}, {"organization": "ours"}, {"headers": {}}])
@pytest.mark.parametrize(
    "around",
    [
        lambda lm, _: MeteredLM(lm, Account()),
        lambda lm, _: PatientLM(lm),
        lambda _, options: RemoteLM("openai/local", options, Crew(1)),
    ],
)
def test_settings_of_a_connection_stay_with_the_model_inside(
    around: Callable[[dspy.LM, dict[str, Any]], MeteredLM], setting: dict[str, Any]
) -> None:
    options = {"api_base": "http://127.0.0.1:1/v1", "max_tokens": 7, **setting}
    outer = around(build_lm("openai/local", **options), options)
    assert outer.kwargs == {"temperature": None, "max_tokens": 7}
    assert setting.items() <= outer.inner.kwargs.items()
