"""The helpers of this folder are modules beside the tests; what a test registers is gone after it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sugarbush.stress.kit import load
from sugarbush.stress.kit import scenarios as scenario

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _what_is_registered_is_gone_afterwards() -> Iterator[None]:
    """Written programs register scenarios; other tests list all that there are."""
    names, files = dict(scenario._registered), list(load._loaded)
    yield
    scenario._registered.clear()
    scenario._registered.update(names)
    load._loaded[:] = files
