"""Sleep sets: one execution of each trace, with no bound, for programs whose checks look at the state.

Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", LNCS 1032, 1996, chapter 5, with the
marks of `concurrency.strategies.bounded`: where nothing below a point races with its turn, no other task is tried. As
no switch costs anything here, the rules of that search get simpler:

1. First, the task that ran goes on; else, or if that sleeps, the task of lowest number that is awake.
2. The point of an event that races with a later one becomes racy, and no other point for its sake.
3. Going back, each task that can go on and is awake is tried at a racy point, one after the other.
4. A task that was tried at a point *sleeps* in what is tried after it there, until an event is made that depends on its
   own. Where no task is awake the execution is given up: all that can come was seen.
5. All values of a data choice are tried.

No trace is left out: a point at which every task is tried leaves out nothing, and sleep sets leave out only what was
made before. None is completed twice. Where objects are freed sleep alone would not do: whoever sleeps is woken by any
free, as nobody knows which turns to come would have touched the object (`Events.meet`). There the execution is given up
once the turns were made and did not touch it (`concurrency.strategies.put_off`; as no switch costs anything, that goes
by each event for itself). `dpor` without a bound gives no execution up, and is better where it can be had; it knows
nothing of what checks look at, of places that operations name, or of callbacks of RCU.

Example. ``x = 1; y = 1`` beside ``y = 2``, as in `bounded`, has two traces. The second execution is the last:

>>> from sugarbush.concurrency import spawn
>>> from sugarbush.concurrency.lowlevel import Access, Operation, Simulated, step
>>> write = Operation("write", Access.WRITE_ONCE, local=True)
>>> def program():
...     spawn(lambda: (step(write, "x"), step(write, "y")), name="p")
...     spawn(step, write, "y", name="q")
>>> search = SleepSets()
>>> while search.left:
...     _ = Simulated(search).run(program)
...     made = zip(search._trace.who, search._trace.objs)
...     print(", ".join(f"{' pq'[task]} {on}" for task, on in made if on in ("x", "y")))
p x, p y, q y
p x, q y, p y
>>> search.traces, search.cut
(2, 0)
"""

from __future__ import annotations

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import Task
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.put_off import in_vain
from sugarbush.concurrency.strategies.switch_points import SwitchPoint
from sugarbush.concurrency.strategies.trace import Edges


class SleepSets(BoundedDPOR):
    """Makes one execution of each trace, and some that are given up.

    It is divided as `BoundedDPOR` is: who sleeps below a turn goes by the ways before it, all of which are tried.
    """

    name = "sleep"

    def __init__(self, dependence: Dependence | None = None) -> None:
        # Every switch is free here, so this bound forbids nothing.
        super().__init__(0, dependence)
        self.bound = None

    def _arrive(self, enabled: tuple[int, ...], current: Task | None) -> SwitchPoint:
        if (ran := self._trace.who[-1]) in self._put_off:
            self._began[ran].mark()
            self._give_up("what was done could as well have come before")
        point = SwitchPoint(enabled, None, True, 0, self._asleep, self._put_off)
        # Rule 1.
        fresh = current is not None and current.id not in self._asleep and current.id not in self._put_off
        point.turn = current.id if current is not None and fresh else self._first(enabled)
        point.tried.append(point.turn)
        if self._ways is not None and len(self._path) < len(self._ways):
            self._follow(point, self._ways[len(self._path)])
        self._path.append(point)
        return point

    def _go(self, point: SwitchPoint) -> None:
        # Rule 4; of those that sleep the event wakes some.
        self._asleep = point.asleep.union(point.tried[:-1])
        super()._go(point)

    def _is_in_vain(self, task: Task, edges: Edges, since: int, point: SwitchPoint) -> bool:  # noqa: ARG002
        # Nor does it matter who has had to wait.
        return in_vain(edges, since)

    def _begin_block(self, point: SwitchPoint, racing: list[int]) -> None:  # noqa: ARG002
        # Where blocks begin matters to what a switch costs only.
        point.block = point

    def _mark_block_before(self, task: int, racing: list[int]) -> None:
        pass
