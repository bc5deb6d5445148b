"""Lets these tests import their helpers by name, and runs a program on each runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Helpers that one room needs lie in it, those of several here.
sys.path.extend(
    sorted(
        str(folder) for folder in (Path(__file__).parent, *Path(__file__).parent.iterdir()) if folder.is_dir()
    )
)

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
