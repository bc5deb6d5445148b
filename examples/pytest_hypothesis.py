"""Interleavings and inputs drawn by Hypothesis together: both shrink.

An account that pays out whatever is asked for, if it has that much: two tasks ask at a time.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sugarbush.concurrency import Failure, Mutex, Plain, Shared, check, join, spawn
from sugarbush.concurrency.plugins.hypothesis_support import Choices, run, schedules


class Account(Shared):
    """Guarded by a lock, but not from the look to the change."""

    balance: Plain[int] = 100


@given(schedules(), st.integers(1, 100))
@settings(database=None, deadline=None, max_examples=500)
def test_never_overdrawn(choices: Choices, amount: int) -> None:
    """Fails: for 51 or more, and one switch between the look and the change."""

    def program() -> None:
        account, lock = Account(), Mutex("account")

        def pay() -> None:
            with lock:
                enough = account.balance >= amount
            if enough:
                with lock:
                    account.balance = account.balance - amount

        join(spawn(pay, name="ann"), spawn(pay, name="bob"))
        check(account.balance >= 0, "nobody is overdrawn")

    run(program, choices)


if __name__ == "__main__":
    try:
        test_never_overdrawn()
    except Failure as failure:
        print(failure.headline, *getattr(failure, "__notes__", ()), sep="\n")
