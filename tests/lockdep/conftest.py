"""Lets the tests of this folder share their helper modules."""

import sys
from pathlib import Path

import pytest

# Helpers that one room needs lie in it, those of several here.
sys.path.extend(
    sorted(
        str(folder) for folder in (Path(__file__).parent, *Path(__file__).parent.iterdir()) if folder.is_dir()
    )
)

from lockdep_world import World


@pytest.fixture
def world() -> World:
    """A validator and its tasks."""
    return World()
