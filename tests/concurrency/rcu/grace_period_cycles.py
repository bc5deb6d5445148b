"""Cycles of readers and grace periods as programs.

Each process does one access that a link from the process before it leads to, and one from which a link leads to the
next. Whether all links can hold in one execution is the question. The law of the kernel's memory model
(tools/memory-model/Documentation/explanation.txt, "RCU RELATIONS", v6.6): the cycle is forbidden if and only if it has
at least as many grace periods as readers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

from sugarbush.concurrency import Once, Settings, Shared, check, join, rcu_reader, spawn, synchronize_rcu
from sugarbush.concurrency.lowlevel import active

MOST = 3
"""Readers, and grace periods, of a cycle."""
SHAPES = ("RW", "WR", "WW")
"""How each process accesses first the link that comes in, then the one that goes out: reads-from, from-reads and
coherence links."""


def cycles(most: int = MOST) -> list[str]:
    """All cycles of two processes or more, each once: ``GRR`` is a grace period and two readers."""
    found = []
    for length in range(2, 2 * most + 1):
        for word in product("GR", repeat=length):
            turns = [word[at:] + word[:at] for at in range(length)]
            if word == min(turns) and word.count("G") <= most and word.count("R") <= most:
                found.append("".join(word))
    return found


def forbidden(cycle: str) -> bool:
    """What the law says."""
    return cycle.count("G") >= cycle.count("R")


class Link(Shared):
    """What two neighbours access."""

    value: Once[int] = 0


def program(
    cycle: str, shape: str, *, reorder: bool, section: Callable[[], AbstractContextManager[Any]] = rcu_reader
) -> Callable[[], None]:
    """Fails if all links of the cycle hold. A reader is one `section`.

    With `reorder` the accesses of a reader come in either order, as a choice: nothing in a reader orders them. What is
    to be read decides whether a process goes on, since a link that does not hold makes the rest worthless.
    """
    length = len(cycle)

    def run() -> None:
        links = [Link() for _ in range(length)]

        def incoming(at: int) -> bool:
            link = links[at - 1]
            if shape[0] == "R":
                return link.value == 1
            link.value = 1 if shape == "WR" else 2
            return True

        def outgoing(at: int) -> bool:
            link = links[at]
            if shape[1] == "R":
                return link.value == 0
            link.value = 1
            return True

        def grace_period(at: int) -> bool:
            if not incoming(at):
                return False
            synchronize_rcu()
            return outgoing(at)

        def reader(at: int) -> bool:
            steps = [incoming, outgoing]
            if reorder and active.runtime is not None and active.runtime.choose(2, "order"):
                steps.reverse()
            with section():
                return all(step(at) for step in steps)

        bodies = {"G": grace_period, "R": reader}
        held = all(join(*[spawn(bodies[kind], at, name=f"{kind}{at}") for at, kind in enumerate(cycle)]))
        if shape == "WW":
            held = all(link.value == 2 for link in links)
        check(not held, f"the cycle {cycle} of {shape} is broken somewhere")

    return run


def settings(memory: str) -> Settings:
    """No checks: the memory model alone is asked."""
    return Settings(memory=memory, without=frozenset({"lockdep", "data-race", "leak", "rcu", "uninit"}))
