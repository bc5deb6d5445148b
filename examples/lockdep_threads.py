"""A deadlock that never happened, found: two threads take two locks in opposite order, at different times.

Run it with ``python examples/lockdep_threads.py``. Nothing hangs; the lock order is wrong all the same.
"""

from __future__ import annotations

import threading

from sugarbush.lockdep.python.threads import Lock, ThreadMonitor


class Account:
    """A balance with a lock of its own. All accounts are one lock class: their locks are made at one line."""

    def __init__(self, monitor: ThreadMonitor, balance: int) -> None:
        self.lock: Lock = monitor.Lock("account.lock")
        self.balance = balance


def transfer(source: Account, target: Account, amount: int) -> None:
    """Takes both locks: two transfers in opposite directions may wait for each other forever."""
    with source.lock, target.lock:
        source.balance -= amount
        target.balance += amount


def audit(ledger: Lock, account: Account) -> None:
    """Takes the ledger's lock first, then the account's."""
    with ledger, account.lock:
        print("balance:", account.balance)


def close(ledger: Lock, account: Account) -> None:
    """Takes the same two locks the other way round."""
    with account.lock, ledger:
        account.balance = 0


def main() -> ThreadMonitor:
    """Runs each step in a thread of its own, one after the other, and prints what the validator saw."""
    monitor = ThreadMonitor()
    ledger = monitor.Lock("ledger")
    first, second = Account(monitor, 100), Account(monitor, 0)
    for step in ((audit, ledger, first), (close, ledger, second), (transfer, first, second, 10)):
        thread = threading.Thread(target=step[0], args=step[1:], name=step[0].__name__)
        thread.start()
        thread.join()
    for report in monitor.lockdep.reports:
        print(report.render())
    return monitor


if __name__ == "__main__":
    main()
