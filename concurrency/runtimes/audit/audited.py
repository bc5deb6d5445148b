"""The audit: whether operations are what they are declared to be.

A declaration (`Operation(..., local=True)`, a reading `access`, `wakes=False`, `region`, ...) is a promise that the
strategies believe: a wrong one makes a search leave out orders that matter, and then it passes what fails. Here a
program is run with everything watched that operations are done to, and what is reached from there:

>>> from sugarbush.concurrency.lowlevel import Access, Operation, audit, perform
>>> __name__ = "program"  # What the engine's own modules hold is not watched.
>>> class Box:
...     def __init__(self):
...         self.full = False
>>> def fill(box, _task, _arg):
...     box.full = True
>>> LOOK = Operation("look", Access.READ_ONCE, effect=fill, local=True)  # It does not only look.
>>> try:
...     report = audit(lambda: perform(LOOK, Box()))
... except WrongDeclaration as wrong:
...     print(str(wrong).partition(": ")[0])
look(Box) is declared to read (Access.READ_ONCE), yet its effect changes Box.full

How it works: while the program runs, the objects have classes that note which of their attributes are read and set,
and containers are compared. A *turn* is the effect of an operation and what its task does until its next one; turns
are ordered as the dependence relation orders them (vector clocks). Two turns of two tasks that touch one attribute,
one of them changing it, and are not ordered, are a conflict between operations that are declared independent. So it is
a race detector that takes declarations for the only orders there are. `docs/audit.md` says what it cannot see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency.core import (
    Observer,
    Operation,
    Task,
    active,
)
from sugarbush.concurrency.runtimes.audit.findings import WrongDeclaration
from sugarbush.concurrency.runtimes.audit.turns import WatchedRuntime
from sugarbush.concurrency.runtimes.audit.watch import Watch

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Execution


class _Listens(Observer):
    """Has the runtime take the variant of `step` that tells an observer; what it hears is nothing to it."""

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Nothing is to be done; that this is overridden is what counts."""


class Audited(WatchedRuntime):
    """Runs programs, and watches what their operations touch."""

    def __init__(self, strategy: Any, observers: tuple[Observer, ...] = (), **how: Any) -> None:
        self._watch = Watch(self)
        self.report = self._watch.report
        self.keeps_going = False
        """Collect what is found, in place of ending the execution."""
        super().__init__(strategy, (*observers, _Listens()), **how)
        self._announced = self._looking(self._announced)
        self._on_performed = [self._looking(performed) for performed in self._on_performed]

    def _looking(self, hears: Any) -> Any:
        """An observer's method, in which it may look at the state: such looks belong to the turn that is over."""
        # Observers without a sight say nothing of what they look at, so there is nothing to compare.
        if hears is None or not self._sights.bits:
            return hears
        watch = self._watch

        def hear(task: Task, *what: Any) -> None:
            with watch.looking():
                hears(task, *what)

        return hear

    def _reset(self) -> None:
        super()._reset()
        self._inner_step = self.step
        self.step = self._audited_step
        self._watch.begin()

    def run(self, program: Callable[[], Any]) -> Execution:
        """Run the program, and put back afterwards the classes of all that was watched."""
        self.report.executions += 1
        try:
            return super().run(program)
        finally:
            self._watch.end()

    def settle(self) -> None:
        """All executions are over: compare what only shows in all of them."""
        self._watch.compare_names()

    def wrong(self, said: str) -> None:
        """An operation is not as it is declared: report it, and end the execution unless all is to be collected."""
        if said in self.report.found:
            return
        self.report.found.append(said)
        if not self.keeps_going:
            error = WrongDeclaration(said)
            if active.runtime is self:
                self.give_up(error)
            raise error

    def _audited_step(self, op: Operation, obj: object) -> None:
        watch = self._watch
        watch.pause()
        watch.meets(op, obj, None)
        self._inner_step(op, obj)
        watch.takes_effect(self.current, op, obj)
        watch.go_on()

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """As without the audit, with the effect watched, and what the task does after it."""
        watch = self._watch
        watch.pause()
        watch.meets(op, obj, arg)
        result = super().perform(op, obj, arg)
        if op.effect is None:
            watch.takes_effect(self.current, op, obj)
            watch.asks(self.current, op, obj, arg)
        watch.go_on()
        return result

    def made(self, obj: object) -> None:
        """No search hears of a new object: it would give that a class of its own, as the audit does."""

    def relax(self) -> None:
        """As without the audit; where `Liveness` begins to watch, the step of the audit stays the outer one."""
        if not self._watching and not self._stopping:
            self._watching = True
            self._inner_step = self._step_watched
            self.perform = self._perform_watched  # type: ignore[method-assign]
        super().relax()

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """As without the audit; what the machine does for it is not the task's."""
        with self._watch.elsewhere():
            return super().spawn(fn, args, name, daemon)

    def choose(self, n: int, label: str) -> int:
        """As without the audit; what the strategy looks at is not the task's."""
        with self._watch.elsewhere():
            return super().choose(n, label)

    def might_alloc(self, gfp: int) -> None:
        """As without the audit; what the validator looks at is not the task's."""
        with self._watch.elsewhere():
            super().might_alloc(gfp)

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """As without the audit; what those look at who listen is not the task's."""
        with self._watch.elsewhere():
            super().trace(event, fields)

    def _start(
        self, parent: Task | None, fn: Callable[..., Any], args: tuple[Any, ...], name: str, daemon: bool
    ) -> Task:
        watch = self._watch

        def watched(*args: Any) -> Any:
            watch.starts(task)
            watch.go_on()
            try:
                return fn(*args)
            finally:
                watch.pause()

        task = super()._start(parent, watched, args, name, daemon)
        watch.spawned(parent, task, fn, args)
        return task

    def _end(self, task: Task) -> Task | None:
        self._watch.ends(task)
        return super()._end(task)
