"""What happens at an operation: it is announced, a task is chosen, it takes effect.

Between two announcements nothing but the effect of the first one happens, so whatever runs before the next
announcement sees a consistent state. `step` has a variant for each kind of strategy, since it runs for each access:
what a variant would have to ask each time is decided once, when the runtime is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sugarbush.concurrency.core import Failure, Operation, TaskKilled, one_of, wanting
from sugarbush.concurrency.runtimes.ending import Ending
from sugarbush.concurrency.strategies import NUMBER_BITS


class Stepping(Ending):
    """The part of `Simulated` that announces operations and makes their effects."""

    _numbers: Iterator[int]
    _announced: Any
    _on_accessed: list[Any]
    _on_asked: list[Any]
    _on_performed: list[Any]
    _steps_heard: dict[Operation, Any]
    _performs_heard: dict[Operation, tuple[list[Any], list[Any]]]

    # What observers want to hear of an operation is asked once, and looked up from then on: most hear of a few kinds
    # only, and a call for nothing costs more than the look-up.

    def _hear_step(self, op: Operation) -> Any:
        """Who hears that `op` is made by `step`; False for nobody."""
        heard = self._steps_heard[op] = one_of(wanting(self._on_accessed, "accessed", op)) or False
        return heard

    def _hear_perform(self, op: Operation) -> tuple[list[Any], list[Any]]:
        """Who hears that `op` is asked for by `perform`, and that it was performed."""
        asked = wanting(self._on_asked, "asked", op) if op.dep is not None else []
        heard = self._performs_heard[op] = asked, wanting(self._on_performed, "performed", op)
        return heard

    def _step_leased(self, op: Operation, obj: object) -> None:
        """`step` when no observer listens and the strategy grants leases."""
        self.steps = n = self.steps + 1
        if n < self._quiet_until:
            return
        task = self.current
        chosen = self._choose(task, n)
        if chosen is not task:
            task.op = op
            task.obj = obj
            self._go(chosen, n)

    def _step_uniform(self, op: Operation, obj: object) -> None:
        """`step` when no observer listens and the strategy's choice is the next of its numbers, whatever comes."""
        self.steps = n = self.steps + 1
        if n < self._quiet_until:
            return
        task = self.current
        runnable = self._runnable
        count = len(runnable)
        if count > 1 and n < self._limit:
            chosen = runnable[next(self._numbers) * count >> NUMBER_BITS]
        else:
            chosen = self._choose(task, n)
        if chosen is not task:
            # For reports of what each task is doing: without it they would name the operation that it waited for last.
            task.op = op
            task.obj = obj
            self._who.append(chosen)
            self._when.append(n)
            self.current = chosen
            chosen.resume()

    def _step_thorough(self, op: Operation, obj: object) -> None:
        """`step` when no observer listens and the strategy wants to know what each task is about to do."""
        self.steps = n = self.steps + 1
        task = self.current
        task.op = op
        task.obj = obj
        chosen = self._choose(task, n)
        if chosen is not task:
            self._go(chosen, n)

    def _step_heard(self, op: Operation, obj: object) -> None:
        """`step` when an observer listens."""
        self.steps = n = self.steps + 1
        task = self.current
        try:
            if self._announced is not None:
                self._announced(task, op, obj)
            if n >= self._decide_at:
                task.op = op
                task.obj = obj
                chosen = self._choose(task, n)
                if chosen is not task:
                    self._go(chosen, n)
            accessed = self._steps_heard.get(op)
            if accessed is None:
                accessed = self._hear_step(op)
            if accessed:
                accessed(task, op, obj)
        except Failure as failure:
            self.stop(failure)
            raise
        except BaseException as error:
            self._blame(error)
            raise

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """Announce an operation, wait until it is ready, make its effect, and say so to all that listen."""
        if self._stopping:
            raise TaskKilled
        self.steps = n = self.steps + 1
        task = self.current
        try:
            if self._announced is not None:
                self._announced(task, op, obj)
            heard = self._performs_heard.get(op) or self._hear_perform(op)
            for asked in heard[0]:
                asked(task, op, obj, arg)
            # A search asks what the operation touches before it takes effect; other arguments are not kept alive.
            if op.keeps_arg:
                task.arg = arg
            ready = op.ready
            if ready is not None and not ready(obj, task):
                self._block(task, op, obj, n)
            elif n >= self._decide_at:
                task.op = op
                task.obj = obj
                chosen = self._choose(task, n)
                if chosen is not task:
                    # To leave a task where it offers its CPU is no preemption.
                    self._relieved += task.yielding
                    # One that can block is asked again while others go on: it may be ready now and not later.
                    if ready is None:
                        self._go(chosen, n)
                    else:
                        self._waiting.setdefault(id(obj), {})[task] = op
                        self._go(chosen, n)
                        self._unwait(task, obj)
            effect = op.effect
            result = None if effect is None else effect(obj, task, arg)
            if op.wakes and id(obj) in self._waiting:
                self._recheck(obj)
            if self._watchers:
                self._look(task, op)
            for performed in heard[1]:
                performed(task, op, obj, arg, result)
        except Failure as failure:
            self.stop(failure)
            raise
        except BaseException as error:
            self._blame(error)
            raise
        return result

    def load(self, op: Operation, obj: Any) -> Any:
        """A step, then the value of the word: memory is sequentially consistent here."""
        self.step(op, obj)
        return getattr(obj, op.word or "")

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """A step, then the new value of the word, which all tasks see."""
        self.step(op, obj)
        setattr(obj, op.word or "", value)
