"""rcutorture: readers look for an element that a whole grace period has passed over while they held it.

Kernel: kernel/rcu/rcutorture.c, v6.6. A writer publishes one element after another. Each grace period carries those
that were replaced one step down a pipe; at its end they are used again. A reader whose element got two steps down while
it was inside its section has been let down. Cookies and barriers have laws of their own, which are looked at, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency import (
    Atomic,
    Failure,
    Kind,
    Once,
    Plain,
    RcuPtr,
    Shared,
    Spinlock,
    Task,
    atomic_inc,
    current_task,
    join,
    rcu_assign_pointer,
    rcu_cpu_stall_timeout,
    rcu_dereference_check,
    softirq,
    spawn,
)
from sugarbush.concurrency.lowlevel import active, domain, fail, quiet
from sugarbush.concurrency.rcu import RcuDomain
from sugarbush.stress.torture.flavours import Flavour, make_flavour
from sugarbush.stress.torture.ledger import record
from sugarbush.stress.torture.segments import STRETCHES, Segments
from sugarbush.stress.torture.statistics import PIPE_LENGTH, Statistics

_POLLS = 3
"""How often a poll is tried before the writer waits for the grace period."""


class Element(Shared):
    """Something that readers find. Kernel: struct rcu_torture."""

    pipe_count: Once[int] = 0
    mbtest: Plain[int] = 0


class Root(Shared):
    """Where they find it."""

    current: RcuPtr[Element | None] = None
    run: Atomic[int] = 0
    stop: Once[int] = 0


def choose(n: int, label: str) -> int:
    """A choice of the schedule, where the kernel draws a random number."""
    rt = active.runtime
    assert rt is not None
    return rt.choose(n, label)


class Torture:
    """One execution of the test: its flavour, the elements, and what each task has counted."""

    def __init__(self, flavour: Flavour, elements: int) -> None:
        self.flavour = flavour
        self.root = Root()
        self.lock = Spinlock("rcu_torture_lock")
        self.free = [Element() for _ in range(elements)]
        self.removed: list[Element] = []
        """Replaced, and carried down the pipe by the writer."""
        self._counted: dict[Task, Statistics] = {}

    @property
    def mine(self) -> Statistics:
        """What the calling task counts."""
        task = current_task()
        found = self._counted.get(task)
        if found is None:
            found = self._counted[task] = Statistics()
        return found

    @property
    def total(self) -> Statistics:
        """What all tasks have counted."""
        total = Statistics(executions=1)
        for counted in list(self._counted.values()):
            total.add(counted)
        return total

    def broken(self, counter: str, what: str) -> None:
        """The test has failed: end the execution with the statistics."""
        mine = self.mine
        if counter:
            setattr(mine, counter, getattr(mine, counter) + 1)
        total = self.total
        name = self.flavour.name
        record(name, total)
        detail = "\n".join([*total.lines(name), total.end(name)])
        fail(Failure(Kind.CHECK, f"{name}-torture: !!! {what}", detail))

    # -- elements -------------------------------------------------------------------------------------------------

    def alloc(self) -> Element | None:
        """An element that nobody knows. Kernel: rcu_torture_alloc()."""
        with self.lock.bh():
            found = self.free.pop() if self.free else None
        self.mine.rta += found is not None
        self.mine.rtaf += found is None
        return found

    def release(self, element: Element) -> None:
        """Put an element that has gone down the whole pipe back among the free ones. Kernel: rcu_torture_free()."""
        self.mine.rtf += 1
        with self.lock.bh():
            self.free.append(element)

    def step(self, element: Element) -> bool:
        """One grace period is over for an element; gives whether that was its last one."""
        at = min(element.pipe_count, PIPE_LENGTH)
        self.mine.circulation[at] += 1
        element.pipe_count = at + 1
        if at + 1 < PIPE_LENGTH:
            return False
        element.mbtest = 0
        return True

    def step_all(self, old: Element) -> None:
        """One grace period is over for all that the writer has replaced. Kernel: rcu_torture_pipe_update()."""
        self.removed.append(old)
        for element in list(self.removed):
            if self.step(element):
                self.removed.remove(element)
                self.release(element)

    def callback(self, element: Element) -> None:
        """One grace period is over, by a callback. Kernel: rcu_torture_cb()."""
        # Else callbacks would post themselves for ever, and the execution would not end.
        if self.root.stop:
            return
        if self.step(element):
            self.release(element)
        else:
            self.flavour.call(self.callback, element)

    # -- tasks ----------------------------------------------------------------------------------------------------

    def write(self, updates: int) -> None:
        """Kernel: rcu_torture_writer()."""
        ways = self._ways()
        for _ in range(updates):
            new = self.alloc()
            if new is None:
                continue
            new.pipe_count = 0
            old = rcu_dereference_check(self.root, "current", True)
            new.mbtest = 1
            rcu_assign_pointer(self.root, "current", new)
            self.mine.ver += 1
            if old is not None:
                self.mine.circulation[min(old.pipe_count, PIPE_LENGTH)] += 1
                old.pipe_count = old.pipe_count + 1
                ways[choose(len(ways), "grace period")](old)
        self.root.stop = 1

    def fake(self, times: int) -> None:
        """Asks for grace periods that nobody needs. Kernel: rcu_torture_fakewriter()."""
        waits = self._waits()
        for _ in range(times):
            waits[choose(len(waits), "grace period")]()

    def _waits(self) -> list[Callable[[], None]]:
        flavour = self.flavour
        waits: list[Callable[[], None]] = [flavour.sync]
        if flavour.expedited is not None:
            waits.append(flavour.expedited)
        if flavour.poll is not None:
            waits += [self._cond_get, self._poll_get]
        return waits

    def _ways(self) -> list[Callable[[Element], None]]:
        def waiting(wait: Callable[[], None]) -> Callable[[Element], None]:
            def free(old: Element) -> None:
                wait()
                self.step_all(old)

            return free

        return [*map(waiting, self._waits()), lambda old: self.flavour.call(self.callback, old)]

    def _cond_get(self) -> None:
        """A cookie that is taken, and a grace period unless there was one."""
        assert self.flavour.get_state is not None
        assert self.flavour.poll is not None
        cookie = self.flavour.get_state()
        if not self.flavour.poll(cookie):
            self.flavour.sync()
        if not self.flavour.poll(cookie):
            self.broken("cookies", "a cookie is not true after a full grace period")

    def _poll_get(self) -> None:
        """A grace period that is begun and polled."""
        assert self.flavour.start_poll is not None
        assert self.flavour.poll is not None
        cookie = self.flavour.start_poll()
        if not any(self.flavour.poll(cookie) for _ in range(_POLLS)):
            self.flavour.sync()

    def read(self, times: int) -> None:
        """Kernel: rcu_torture_reader()."""
        for number in range(times):
            if number == 1 and self.flavour.segments:
                self.mine.nt += 1
                with softirq():
                    self.read_once()
            else:
                self.read_once()
            self.flavour.between()

    def read_once(self) -> None:
        """One section: whatever it finds must be there to the end. Kernel: rcu_torture_one_read()."""
        flavour = self.flavour
        inside = self._enter()
        rcu = domain(RcuDomain)
        # Counted, and nothing depends on it: a look from outside, not an operation.
        with quiet():
            began = rcu.begun
        cookie = None if flavour.get_state is None else flavour.get_state()
        element = rcu_dereference_check(self.root, "current", True)
        if element is not None:
            self._hold(element, inside)
            with quiet():
                seen = min(rcu.begun - began, PIPE_LENGTH)
            self.mine.reader_batch[seen] += 1
        # No grace period can begin after the cookie was taken and be over while this reader is inside.
        if cookie is not None and flavour.poll is not None and flavour.poll(cookie):
            self.broken("cookies", "a cookie that was taken in a reader is true before the reader ends")
        self._leave(inside)

    def _enter(self) -> Any:
        if self.flavour.segments and not current_task().in_softirq:
            return Segments(choose(len(STRETCHES), "reader"))
        return self.flavour.read_lock()

    def _leave(self, inside: Any) -> None:
        if isinstance(inside, Segments):
            inside.end()
        else:
            self.flavour.read_unlock(inside)

    def _hold(self, element: Element, inside: Any) -> None:
        if element.mbtest == 0:
            self.broken("rtmbe", "a reader has found an element that was not there yet, or no more")
        if isinstance(inside, Segments):
            inside.extend(choose(len(STRETCHES), "reader"))
        self.flavour.delay()
        pipe = min(element.pipe_count, PIPE_LENGTH)
        self.mine.reader_pipe[pipe] += 1
        # Its replacement is one step; a second one is a grace period that began after that, and did not wait for us.
        if pipe > 1:
            self.broken("", f"a grace period has passed over a reader (pipe count {pipe})")

    def barrier(self, callbacks: int) -> None:
        """Kernel: rcu_torture_barrier(): all callbacks that were posted have run when it returns."""
        assert self.flavour.barrier is not None

        def ran(_: object) -> None:
            atomic_inc(self.root, "run")

        join(*[spawn(self.flavour.call, ran, None, name="rcu_barrier_cbs") for _ in range(callbacks)])
        self.mine.barriers += 1
        self.flavour.barrier()
        if self.root.run != callbacks:
            self.broken(
                "rtbe", f"a barrier has returned, but {callbacks - self.root.run} callbacks have not run"
            )
        self.mine.barriers_ok += 1

    def read_exit(self) -> None:
        """A task ends right after a reader. Kernel: rcu_torture_read_exit()."""
        join(spawn(self.read, 1, name="rcu_read_exit"))
        self.mine.read_exits += 1

    def stall(self, operations: int) -> None:
        """A reader that is inside for too long. Kernel: rcu_torture_stall()."""
        rcu_cpu_stall_timeout(max(operations // 4, 1))
        inside = self.flavour.read_lock()
        for _ in range(operations):
            self.root.stop  # noqa: B018
        self.flavour.read_unlock(inside)


def torture(
    torture_type: str, readers: int, fakewriters: int, updates: int, reads: int, barrier: int, stall: int
) -> None:
    """One execution of rcutorture, as the parameters of its scenario say."""
    flavour = make_flavour(torture_type)
    test = Torture(flavour, elements=updates + 1)
    tasks = [spawn(test.write, updates, name="rcu_torture_writer")]
    tasks += [spawn(test.read, reads, name=f"rcu_torture_reader{n}") for n in range(readers)]
    tasks += [spawn(test.fake, 2, name=f"rcu_torture_fakewriter{n}") for n in range(fakewriters)]
    if barrier and flavour.barrier is not None:
        tasks.append(spawn(test.barrier, barrier, name="rcu_torture_barrier"))
    tasks.append(spawn(test.read_exit, name="rcu_torture_read_exit"))
    if stall:
        tasks.append(spawn(test.stall, stall, name="rcu_torture_stall"))
    join(*tasks)
    # Callbacks that are still under way count in the statistics.
    if flavour.barrier is not None:
        flavour.barrier()
    record(flavour.name, test.total)
