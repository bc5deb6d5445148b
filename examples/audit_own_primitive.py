"""A primitive of one's own, a turnstile that counts who went through, and the audit of what its operations declare.

The first `PEEK` says that it only looks, and it changes the count: a search that believes it leaves orders out.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import explore, join, spawn
from sugarbush.concurrency.lowlevel import Access, Operation, audit, perform


class Turnstile:
    """Closed at first; once it is open, tasks go through and are counted."""

    name = "turnstile"

    def __init__(self) -> None:
        self.is_open = False
        self.count = 0


def _open(turnstile: Turnstile, _task: Any, _arg: Any) -> None:
    turnstile.is_open = True


def _go(turnstile: Turnstile, _task: Any, _arg: Any) -> int:
    turnstile.count += 1
    return turnstile.count


def _may_go(turnstile: Turnstile, _task: Any) -> bool:
    return turnstile.is_open


OPEN = Operation("open", effect=_open, local=True, releases=("opened",))
GO = Operation("go", ready=_may_go, effect=_go, local=True, acquires=("opened",))
PEEK = Operation("peek", Access.READ_ONCE, effect=_go, local=True)
HONEST_PEEK = Operation("peek", Access.READ_ONCE, effect=lambda one, _task, _arg: one.count, local=True)


def program(peek: Operation = HONEST_PEEK) -> None:
    turnstile = Turnstile()
    going = [spawn(perform, GO, turnstile) for _ in range(2)]
    spawn(perform, peek, turnstile)
    perform(OPEN, turnstile)
    assert sorted(join(*going)) == [1, 2]


wrong = audit(lambda: program(PEEK), keep_going=True).found
print(wrong[0])
print(f"audited: {', '.join(sorted(audit(program).operations))}")
assert explore(program, strategy="dpor").verdict == "passed"
