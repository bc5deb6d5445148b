"""``pytest --lockdep``: the whole suite is one graph of locks, and a test that closes a cycle in it fails.

Without the option nothing of this is loaded but the options themselves. Described in docs/lockdep-python.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from sugarbush.lockdep.python.watching import Session

_KEY: pytest.StashKey[Session] = pytest.StashKey()
_FORMS = ("json", "sarif", "html")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("lockdep", "lock order (sugarbush)")
    group.addoption(
        "--lockdep",
        nargs="?",
        const="fail",
        choices=("fail", "report"),
        help="Watch all locks: a possible deadlock fails its test, or, with =report, is told at the end.",
    )
    group.addoption(
        "--lockdep-baseline",
        type=Path,
        metavar="FILE",
        help="Reports in this file are known and fail nothing.",
    )
    group.addoption(
        "--lockdep-update-baseline",
        action="store_true",
        help="Write what is found to the baseline, and fail nothing.",
    )
    group.addoption(
        "--lockdep-hang",
        type=float,
        metavar="SECONDS",
        help="Say who waits for whom when a test takes so long.",
    )
    group.addoption(
        "--lockdep-kernel", action="store_true", help="Reports in the shape of the Linux kernel's."
    )
    group.addoption(
        "--lockdep-blocking", action="store_true", help="Report calls that block under a lock, too."
    )
    for form in _FORMS:
        group.addoption(
            f"--lockdep-{form}", type=Path, metavar="FILE", help=f"Write the reports as {form.upper()}."
        )


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """As early as possible: what conftest files import makes locks, too."""
    options = early_config.known_args_namespace
    if getattr(options, "lockdep", None):
        _start(early_config, options)
    yield


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and hook in."""
    option = config.option
    if not option.lockdep:
        given = [
            f"--lockdep-{name}"
            for name in ("baseline", "hang", *_FORMS)
            if getattr(option, f"lockdep_{name}")
        ]
        if option.lockdep_update_baseline:
            given.append("--lockdep-update-baseline")
        if given:
            raise pytest.UsageError(f"{given[0]} means something with --lockdep only")
        return
    if option.lockdep_update_baseline and option.lockdep_baseline is None:
        raise pytest.UsageError("--lockdep-update-baseline needs --lockdep-baseline FILE")
    session = config.stash.get(_KEY, None) or _start(config, option)
    session.begin(config)
    config.pluginmanager.register(session, "sugarbush-lockdep")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Watch no more."""
    session = config.stash.get(_KEY, None)
    if session is not None:
        session.end()


def _start(config: pytest.Config, options: Any) -> Session:
    from sugarbush.lockdep.python.watching import Session

    session = config.stash[_KEY] = Session(
        mode=options.lockdep, kernel=options.lockdep_kernel, blocking=options.lockdep_blocking
    )
    return session
