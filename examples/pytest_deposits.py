"""A test of one's own under many schedules: run it with `pytest -p concurrency.plugins.pytest_plugin FILE`.

The deposit below reads and writes in one critical section, so the test passes; take the write out of the block, and
pytest prints the schedule that breaks it.
"""

from __future__ import annotations

import sys

import pytest

from sugarbush.concurrency import Mutex, Plain, Shared, join, spawn


class Account(Shared):
    """What both tasks change."""

    balance: Plain[int] = 0


@pytest.mark.sugarbush(executions=200, strategy="pos")
def test_deposits() -> None:
    """Two deposits of 10 make 20, in every order."""
    account, lock = Account(), Mutex("account")

    def deposit() -> None:
        with lock:
            account.balance = account.balance + 10

    join(spawn(deposit, name="ann"), spawn(deposit, name="bob"))
    assert account.balance == 20


QUIET = ["-q", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
"""The module is imported before pytest could rewrite its asserts, which does no harm."""

if __name__ == "__main__":
    sys.exit(
        pytest.main(
            [*QUIET, "-p", "sugarbush.concurrency.plugins.pytest_plugin", "-p", "no:cacheprovider", __file__]
        )
    )
