"""Every test runs offline, without keys, and leaves nothing outside its temporary folder."""

from __future__ import annotations

import atexit
import gc
import ipaddress
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import settings

SOURCES = Path(__file__).resolve().parent.parent / "src"

CACHE = tempfile.mkdtemp(prefix="ragwright-tests-")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
SHARED = os.environ["RAGWRIGHT_CACHE"] if "PYTEST_XDIST_WORKER" in os.environ else CACHE
"""Of all workers: a text is embedded, and a model converted, by one of them. The first made it."""

# Read by the libraries when they are imported, so set before any test module is.
os.environ.update(
    ANONYMIZED_TELEMETRY="False",
    DSPY_CACHEDIR=CACHE,
    HF_HUB_OFFLINE="1",
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    MLFLOW_DISABLE_TELEMETRY="true",
    MPLBACKEND="Agg",
    RAGWRIGHT_CACHE=SHARED,
    TOKENIZERS_PARALLELISM="false",
    # Processes that tests start import what is tested, wherever the environment is from.
    PYTHONPATH=os.pathsep.join(filter(None, (str(SOURCES), os.environ.get("PYTHONPATH")))),
)
# Every client of HTTP reads, when it is made, whom it would trust: 30 ms for all that there are.
os.environ["SSL_CERT_FILE"] = str(Path(CACHE) / "authority.pem")
Path(CACHE, "authority.pem").write_text(
    "".join(certifi.contents().partition("-----END CERTIFICATE-----")[:2]), encoding="ascii"
)
# A proxy that stands in the environment is not asked for servers of this machine.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
# What a terminal is said to be decides what `rich` writes and where it breaks lines.
os.environ["TERM"] = "xterm-256color"
for name in ("CLICOLOR", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)
KEYS = tuple(
    name
    for name in os.environ
    if name.endswith(("_API_KEY", "_API_BASE", "HF_TOKEN", "MLFLOW_TRACKING_URI"))
)

# Examples are drawn from a fixed seed, and no test fails for being slow on a busy machine.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


TOGETHER = {
    "one compile": (
        "optimize/compile optimize/mlflow_copy optimize/mlflow_pages optimize/notebooks "
        "optimize/report optimize/tracking"
    ),
    "torch": (
        "programs/contract programs/cross_encoder programs/rag programs/traces retrievers/embedding"
    ),
    "litellm": "optimize/budget retrievers/hosted",
    "forked processes": "artifacts/server/loop cli_interrupt optimize/resume",
}
"""Files that one worker runs, since what they share is dear: a compile, imports."""


def _group(file: str) -> str:
    """Return what a file is dealt out with; most files stand alone."""
    folder, slash, name = file.removeprefix("tests/").removesuffix(".py").rpartition("/")
    place = f"{folder}{slash}{name.removeprefix('test_')}"
    return next((group for group, places in TOGETHER.items() if place in places.split()), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out files, and those that share something dear together."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(super()._split_scope(nodeid))

    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files marked `slow`, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while test modules are parsed, and later not what they have loaded.

    Python 3.11 fails to parse ("AST constructor recursion depth mismatch") where a collection in
    the middle runs a finalizer. Tests make far more objects than a collection after every 700 is
    meant for.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


class NetworkUsed(AssertionError):
    """A test tried to leave the machine."""


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Refuse every connection to another machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if not _is_local(address):
            raise NetworkUsed(f"A test tried to connect to {address!r}.")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_keys() -> Iterator[None]:
    """Hide the developer's own keys and servers, so that no test can depend on them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in KEYS:
            patch.delenv(name)
        patch.setattr("ragwright.artifacts.cli.init.LOCAL", {})
        yield


@pytest.fixture(autouse=True, scope="session")
def interrupts() -> Iterator[None]:
    """Take Ctrl-C as usual, also where the tests were started in the background.

    A shell lets its background jobs, and all that they start, ignore the signal.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
