"""Other machines: a Dask scheduler, through the standard `Executor` interface."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

_PATIENCE = 10
"""Seconds until a scheduler that does not answer is given up."""


class NoExecutor(Exception):
    """There is no executor at this address; the message says why."""


@contextmanager
def dask(address: str) -> Iterator[tuple[Executor, int]]:
    """The executor of the Dask scheduler at `address`, and how many workers it has; raises `NoExecutor`."""
    try:
        import distributed
    except ImportError:
        raise NoExecutor("--executor needs the package distributed: install 'sugarbush[dask]'") from None
    _hush()
    connect: Any = distributed.Client
    try:
        client = connect(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoExecutor(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise NoExecutor(f"the Dask scheduler at {address} has no workers")
        yield client.get_executor(), threads


def _hush() -> None:
    """What goes wrong is said in one line by who asked; the library's own stories would stand between the results."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
