"""What an operator decides about a server, checked before anything is opened.

Keys are no settings: they come from the environment and stay out of whatever is printed.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal, Self

from limits import parse_many
from pydantic import Field, ValidationError, field_validator

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.settings import Settings, describe_setting_errors

KEYS = "RAGWRIGHT_API_KEYS"
"""The environment variable with the API keys, separated by commas."""
SHORTEST_KEY = 16
_SENDABLE = re.compile("[!-~]+")
"""A key that stands in a header as it is: ASCII without blanks and control characters."""
LogLevel = Literal["debug", "info", "warning", "error"]
ALL = "*"
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_ORIGIN = re.compile(r"https?://(?:[\w.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", re.ASCII)
LARGEST_HEAD = 32_768
"""Bytes of a request's headers."""


class ServerSettings(Settings):
    """How to serve one artifact.

    Attributes:
        artifact: The artifact's folder, one version of it, or `FOLDER@ALIAS`.
        candidate: An artifact that answers a share of the questions instead; "" for none.
        share: What share, from 0 to 1.
        index: Where the index lies now, if it has moved.
        lm: A language model instead of the recipe's.
        trust: The modules that the artifact may import, besides those of RAGWRIGHT_TRUST.
        host: Where to listen; anything but loopback needs a key.
        allowed_hosts: Names that the `Host` header may carry besides loopback's; a server that
            listens beyond loopback takes any name if there are none.
        allowed_origins: Pages of other origins whose scripts may ask, such as
            "https://app.example"; "*" for all, on a server that needs a key.
        concurrency: Questions worked on at once.
        queue: Questions that may wait; one more is refused with 429.
        timeout: Seconds that a question may take, waiting included.
        drain: Seconds that open answers get to finish after SIGTERM.
        max_body: Largest request body in bytes.
        max_question: Longest question in characters.
        key_file: The server file with keys and what each may see (`access.py`); "" for none.
        proxies: Addresses of the proxies that say in a header what their callers may see; if there
            are any, nobody else is let in.
        rate: Requests per key, or per address where there are no keys: "60/minute"; "" for any.
        cache_entries: Answers kept; 0 turns the cache off.
        cache_seconds: How long an answer is kept at most.
        feedback: The SQLite file of answers and feedback; "" keeps neither.
        reload: Seconds between looks for a newly promoted version; 0 never looks.
        mcp: Whether agents find tools under `/mcp`.
        trace: Share of the answers that are traced in MLflow.
        tracking_uri: Where to.
        log_level: What is logged: this and worse.
    """

    artifact: str
    candidate: str = ""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    index: str | None = None
    lm: str | None = None
    trust: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    workers: int = Field(default=1, ge=1, le=64)
    concurrency: int = Field(default=32, ge=1, le=1024)
    queue: int = Field(default=128, ge=0)
    timeout: float = Field(default=60.0, gt=0)
    drain: int = Field(default=30, ge=1)
    max_body: int = Field(default=262_144, ge=1024)
    max_question: int = Field(default=4000, ge=1)
    key_file: str = ""
    proxies: tuple[str, ...] = ()
    rate: str = ""
    cache_entries: int = Field(default=1000, ge=0)
    cache_seconds: float = Field(default=3600.0, gt=0)
    feedback: str = ".rag/feedback.sqlite"
    reload: float = Field(default=2.0, ge=0)
    mcp: bool = False
    trace: Annotated[float, Field(ge=0, le=1)] = 0.0
    tracking_uri: str = "sqlite:///mlflow.db"
    log_level: LogLevel = "info"

    @field_validator("allowed_hosts")
    @classmethod
    def _as_names_compare(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in value if not (_NAME.fullmatch(name) or is_address(name))]:
            raise ValueError(f"{wrong[0][:100]!r} is no name such as app.example")
        return tuple(name.casefold() for name in value)

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ipaddress.ip_address(one)) for one in value)
        except ValueError as error:  # a name, or a network: nobody that asks is called so
            raise ValueError(f"{error}, such as 10.0.0.7: one for each proxy") from error

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(origin.casefold().rstrip("/") for origin in value)
        if wrong := [one for one in found if one != ALL and not _ORIGIN.fullmatch(one)]:
            raise ValueError(f"{wrong[0][:100]!r} is no origin such as https://app.example")
        return found

    @field_validator("rate")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        if value:
            parse_many(value)
        return value

    @classmethod
    def checked(cls, **values: object) -> Self:
        """Build settings from a user's values.

        Raises:
            InputError: One of them is out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(
                f"The server cannot be set up so: {describe_setting_errors(error)}.",
                hint="`rag serve --help` lists what can be set.",
            ) from error

    @property
    def public(self) -> bool:
        """Whether it listens where other machines can reach it."""
        return not is_loopback(self.host)


@lru_cache(maxsize=64)  # asked with every request
def is_loopback(host: str) -> bool:
    """Tell whether an address or a name can only be reached from this machine."""
    if host == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_address(host: str) -> bool:
    """Tell whether it is an IP address, of either kind, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def read_keys(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the API keys that the environment holds.

    Raises:
        InputError: One of them is too short to be a secret, or holds what no header can.
    """
    keys = tuple(key.strip() for key in environment.get(KEYS, "").split(",") if key.strip())
    if any(len(key) < SHORTEST_KEY or not _SENDABLE.fullmatch(key) for key in keys):
        raise InputError(
            f"A key in {KEYS} has fewer than {SHORTEST_KEY} characters, or others than letters, "
            "digits and signs of ASCII.",
            hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return keys


def check_address(settings: ServerSettings, *, has_keys: bool) -> None:
    """Make sure that nobody is let in by accident.

    Raises:
        InputError: The server would listen beyond loopback without a key, or be asked by any page.
    """
    if ALL in settings.allowed_origins and not has_keys:
        raise InputError(
            "Any page could ask this server, which needs no API key.",
            hint=f"Set {KEYS}, or name the origins.",
        )
    if settings.public and not has_keys:
        raise InputError(
            f"{settings.host!r} can be reached from other machines, and there is no API key.",
            hint=f"Set {KEYS}, or listen on 127.0.0.1.",
        )
