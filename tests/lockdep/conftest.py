"""Lets the tests of this folder share their helper modules."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lockdep_world import World


@pytest.fixture
def world() -> World:
    """A validator and its tasks."""
    return World()
