"""Lets these tests import their helpers by name, and takes back what a test has loaded."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sugarbush.stress.kit import bugs as bug
from sugarbush.stress.kit import load, registry
from sugarbush.stress.kit import scenarios as scenario

# Helpers that one room needs lie in it, those of several here.
sys.path.extend(
    sorted(
        str(folder) for folder in (Path(__file__).parent, *Path(__file__).parent.iterdir()) if folder.is_dir()
    )
)
# Registered before a test begins, they are not taken back behind it.
registry.load()


@pytest.fixture(autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    """Files that a test loads would be named in the lines that later tests print, and their names be taken."""
    loaded, scenarios, bugs = list(load._loaded), dict(scenario._registered), dict(bug._bugs)
    yield
    if load._loaded != loaded:
        load._loaded[:] = loaded
        for registry, before in ((scenario._registered, scenarios), (bug._bugs, bugs)):
            registry.clear()
            registry.update(before)  # type: ignore[arg-type]


@pytest.fixture(autouse=True, scope="session")
def commands_hear_that_their_terminal_closes() -> Iterator[None]:
    """Whoever runs the tests by nohup has SIGHUP ignored, and a command that inherits that goes on ignoring it."""
    was = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, was)
