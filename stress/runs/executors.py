"""Other machines: a Dask scheduler, through the standard `Executor` interface."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import sugarbush
from sugarbush.concurrency import SugarbushError
from sugarbush.concurrency.search import run_text
from sugarbush.lockdep.outside import reason
from sugarbush.stress.runs.dask_client import PATIENCE

_PATIENCE = PATIENCE
_STARTING = 60.0
"""Seconds that the client has to be loaded, on however busy a machine; whom it talks to has no part in that."""
_GRACE = 1.0
_LONGEST = 300


def all_cores() -> int:
    """How many cores this process may use."""
    # A container or a batch system may allow fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NoExecutor(SugarbushError):
    """There is no executor at this address; the message says why."""


class _Dask(Executor):
    """Gives work to the client process, and takes answers from it. Nothing of Dask is loaded in this process."""

    def __init__(self, address: str) -> None:
        # The client must find the same Sugarbush, wherever this one was found.
        here = str(Path(sugarbush.__file__).parent.parent)
        paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self._client = subprocess.Popen(
            [sys.executable, "-m", "sugarbush.stress.runs.dask_client", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths},
            # Ctrl-C is for us: what runs elsewhere may still give what it has found.
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._asked: dict[int, Future[Any]] = {}
        self._number = 0
        self._gone = False
        self.first: SimpleQueue[dict[str, Any]] = SimpleQueue()
        """What it says before it is ready."""
        self._thread = threading.Thread(target=self._hear, name="sugarbush dask", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send the text of some work to a worker; `run_text` is the one thing that workers of other machines do."""
        assert fn is run_text
        assert not kwargs
        (text,) = args
        future: Future[Any] = Future()
        # From here on it cannot be cancelled: it is on its way, and what it finds counts.
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._gone:
                raise BrokenExecutor("the Dask client has ended")
            self._number += 1
            self._asked[self._number] = future
            number = self._number
        try:
            self._say({"do": number, "text": text})
        except (OSError, ValueError) as error:
            raise BrokenExecutor("the Dask client has ended") from error
        return future

    def _say(self, message: dict[str, Any]) -> None:
        assert self._client.stdin is not None
        self._client.stdin.write(json.dumps(message) + "\n")
        self._client.stdin.flush()

    def _hear(self) -> None:
        assert self._client.stdout is not None
        for line in self._client.stdout:
            message = json.loads(line)
            if "done" in message:
                self._answer(message["done"], message["text"])
            elif "failed" in message:
                self._answer(message["failed"], None)
            elif "gone" in message:
                break
            else:
                self.first.put(message)
        self.first.put({"refused": "the Dask client has ended"})
        with self._lock:
            self._gone = True
            left, self._asked = list(self._asked.values()), {}
        for future in left:
            future.set_exception(BrokenExecutor("the Dask scheduler has gone"))

    def _answer(self, number: int, text: Any) -> None:
        with self._lock:
            future = self._asked.pop(number, None)
        if future is None:
            return
        if text is None:
            future.set_exception(BrokenExecutor("a worker has gone"))
        else:
            future.set_result(text)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """End the client."""
        with suppress(OSError):
            assert self._client.stdin is not None
            self._client.stdin.close()
        try:
            self._client.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._client.kill()
            self._client.wait()
        self._thread.join()
        assert self._client.stdout is not None
        self._client.stdout.close()


@contextmanager
def dask(address: str) -> Iterator[tuple[Executor, int]]:
    """The executor of the Dask scheduler at `address`, and how many workers it has; raises `NoExecutor`."""
    _check(address)
    executor = _Dask(address)
    try:
        yield executor, _ready(executor, address)
    finally:
        executor.shutdown()


def _check(address: str) -> None:
    """Refuse what Dask would take for something else: it starts a cluster of its own for an empty address."""
    try:
        parts = urlsplit(address)
        fits = bool(parts.scheme in ("tcp", "tls", "ws", "wss") and parts.hostname and parts.port)
    except ValueError:
        fits = False
    if not fits or not address.isprintable():
        raise NoExecutor(
            f"no Dask scheduler answers at {address[:_LONGEST]}: an address is tcp://HOST:PORT, or tls://HOST:PORT"
        )
    try:
        # Dask would try again and again where nobody listens.
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), _PATIENCE).close()
    except (OSError, UnicodeError) as error:
        raise NoExecutor(f"no Dask scheduler answers at {address[:_LONGEST]}: {reason(error)}") from None


def _ready(executor: _Dask, address: str) -> int:
    """How many workers there are, as soon as that is known."""
    patience = _STARTING
    while True:
        try:
            message = executor.first.get(timeout=patience)
        except Empty:
            raise NoExecutor(f"no Dask scheduler answers at {address} within {_PATIENCE:g} seconds") from None
        if "refused" in message:
            raise NoExecutor(str(message["refused"])[:_LONGEST])
        if "ready" in message:
            return int(message["ready"])
        patience = _PATIENCE + _GRACE
