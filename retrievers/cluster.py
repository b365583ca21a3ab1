"""Has plain functions called by other processes or machines, through Ray.

What is handed over and comes back is pickled by Ray, between the processes of one cluster: whoever
is in it is trusted with everything. Nothing is read from files that way. Knows neither documents
nor language models.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from ipaddress import ip_address
from typing import Any, TypeVar

from ragwright.retrievers.errors import ClusterError, InputError
from ragwright.retrievers.extras import require

T = TypeVar("T")

ADDRESS = "RAY_ADDRESS"
"""Where a cluster is; Ray's own variable."""

DEATHS = 5
"""How often a piece of work may lose its worker before it is taken for the reason."""

AHEAD = 8
"""Pieces of work handed out for each worker, so that none waits while results are written."""

REACH_SECONDS = 10.0
"""How long the machine of a cluster may take to answer."""

_QUIET = {
    # What an error leaves unasked for is not said beside the error.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
_OF_ITS_OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_enable_metrics_collection": "0",
    # Ray's own switch for "no other machine": every process of it then listens on loopback alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class Crew:
    """Workers of a Ray cluster.

    Attributes:
        workers: How many pieces of work are done at a time: the cluster's processors.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def share(self, value: Any) -> Any:
        """Put a value where every worker reads it once; give what is returned to calls."""
        import ray

        return ray.put(value)

    def in_order(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Yield what a function returns for each tuple of arguments, in their order.

        A call whose worker dies is made again, so the function must come to the same then. Calls
        are read as workers have room for them.

        Args:
            function: Of a module that workers can import.
            calls: Arguments; what stands in them is pickled.

        Raises:
            ClusterError: Workers die of a call again and again, or the cluster is gone.
            Exception: What the function raised.
        """
        import ray

        done = ray.remote(num_cpus=1, max_retries=DEATHS)(function)
        waiting: deque[Any] = deque()
        try:
            for arguments in calls:
                waiting.append(done.remote(*arguments))
                if len(waiting) >= AHEAD * self.workers:
                    yield _got(waiting.popleft())
            while waiting:
                yield _got(waiting.popleft())
        finally:
            for one in waiting:  # an error ended it: what nobody waits for is not begun
                ray.cancel(one)

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns, or raise what it raised; it is called once at most.

        Raises:
            ClusterError: Its worker died, or the cluster is gone.
        """
        import ray

        result: T = _got(ray.remote(num_cpus=1, max_retries=0)(function).remote(*arguments))
        return result


@contextmanager
def ray_cluster(workers: int | None = None) -> Iterator[Crew]:
    """Have a crew: of the cluster this process is in, or of `RAY_ADDRESS`, or of this machine.

    A cluster on this machine is started, and stopped at the end: without a dashboard or reports of
    use, on loopback alone, behind a token that only its processes know.

    Args:
        workers: How many workers such a cluster has; by default one a processor. One that is there
            already has its own.

    Raises:
        MissingExtra: Ray is not installed.
        ClusterError: There is no cluster at that address, or none can be started.
        InputError: The number of workers is below 1, or given for a cluster that is there already.
    """
    require("ray")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot do anything.", hint="Take 1 or more.")
    address = os.environ.get(ADDRESS, "")
    own = {} if address else _OF_ITS_OWN | {"RAY_AUTH_TOKEN": _token()}
    with _environment(_QUIET | own):
        import ray

        joined = ray.is_initialized()
        if workers is not None and (joined or address):
            raise InputError(
                f"{workers} workers were asked for, but a cluster that is there has its own.",
                hint=f"Leave the number out, or {ADDRESS} to have a cluster on this machine.",
            )
        if not joined:
            _start(address, workers)
        try:
            yield Crew(max(1, int(ray.cluster_resources().get("CPU", 1))))
        finally:
            if not joined:
                ray.shutdown()


def _start(address: str, workers: int | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        if address:
            _reach(address)
            ray.init(address, **quiet)
        elif not ip_address(ray.util.get_node_ip_address()).is_loopback:
            raise RuntimeError("Ray was imported before, and would listen on all addresses")
        else:
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
    except (ray.exceptions.RayError, OSError, ValueError, RuntimeError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        where = f"no Ray cluster at {address!r}" if address else "no Ray cluster on this machine"
        raise ClusterError(
            f"There is {where}: {said}.",
            hint=f"Start one (`ray start --head`), and name it in {ADDRESS}."
            if address
            else "Call ray.init() yourself, or let ragwright import Ray; see what Ray wrote to "
            "/tmp/ray/session_latest/logs.",
        ) from error


def _reach(address: str) -> None:
    """Make sure that something listens at HOST:PORT or ray://HOST:PORT: Ray tries for minutes.

    Raises:
        OSError: Nothing does.
        ValueError: The port is none.
    """
    host, mark, port = address.removeprefix("ray://").rpartition(":")
    if mark:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def _got(reference: Any) -> Any:
    """Wait for a result."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ClusterError(
            f"A worker of the Ray cluster was lost: {type(error).__name__}: {said}.",
            hint="What was committed is kept: run the same again. If it happens again, look for "
            "a lack of memory in Ray's logs on that machine.",
        ) from error


@cache
def _token() -> str:
    """Return what the processes of a cluster know each other by: Ray reads it once a process."""
    return secrets.token_hex(32)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Let Ray, and the processes that it starts, find variables that are not set otherwise."""
    missing = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
