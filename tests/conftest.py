"""No test is timed: a busy machine makes nothing fail. Interrupts arrive, also where a shell has them ignored."""

import os
import shutil
import signal
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BYTECODE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Gives the processes that tests start a place for bytecode, where this Python was told to write none.

    Each of the hundreds would compile 400 modules anew, which is half of its time. The place ends with the session, so
    that nothing is written beside the sources.
    """
    # The workers of xdist, which start after this, inherit the two variables and so do not come here.
    if sys.dont_write_bytecode:
        config.stash[BYTECODE] = os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(
            prefix="sugarbush-bytecode-"
        )
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    if BYTECODE in config.stash:
        shutil.rmtree(config.stash[BYTECODE], ignore_errors=True)
