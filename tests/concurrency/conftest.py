"""Lets these tests import their helpers by name, and runs a program on each runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sugarbush.concurrency import Failure, Settings, explore

Run = Callable[..., Failure | None]


@pytest.fixture(params=["simulated", "threaded"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a program several times on one runtime and gives the first failure, if any."""

    def runner(program: Callable[[], Any], settings: Settings | None = None) -> Failure | None:
        found = explore(
            program,
            runtime=request.param,
            strategy="random",
            executions=40 if request.param == "simulated" else 8,
            settings=settings,
        )
        return found.failures[0].failure if found.failures else None

    return runner
