"""The life of a task: it is spawned, a greenlet runs it, it returns, and another task goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sugarbush.concurrency.core import (
    END,
    SPAWN_HINT,
    ConcurrencyError,
    Failure,
    Task,
    TaskKilled,
    born,
    check_ran,
    check_runs,
    from_outside,
    own_name,
    raised_by,
    role_of,
    uncaught,
)
from sugarbush.concurrency.runtimes.stepping import Stepping


class Tasks(Stepping):
    """The part of `Simulated` that starts and ends tasks."""

    _names: dict[str, int]
    _ordinary: set[object]
    _following: Task | None
    _on_spawned: list[Any]
    _on_ended: list[Any]

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """Start a task; a function that cannot be a task, as a coroutine, is refused in words."""
        if self._stopping:
            raise TaskKilled
        code = getattr(fn, "__code__", None)
        where = None
        # What is asked of a function is asked once: programs spawn the same few again and again.
        if code not in self._ordinary:
            check_runs(fn, "the function given to spawn()", SPAWN_HINT)
            where = born(fn)
            if code is not None and where is None:
                self._ordinary.add(code)
        try:
            task = self._start(self.current, fn, args, name or str(getattr(fn, "__name__", "task")), daemon)
        except Failure as failure:
            # Of an observer that hears of the task: the end, even if the program swallows what spawn() raises.
            self.stop(failure)
            raise
        task.born = where
        return task

    def _start(
        self, parent: Task | None, fn: Callable[..., Any], args: tuple[Any, ...], name: str, daemon: bool
    ) -> Task:
        names = self._names
        if name in names:
            name = own_name(name, names)
        else:
            names[name] = 1
        task = Task(len(self.tasks), name, fn, args, daemon)
        task.resume = partial(self._greenlets.hub.switch, task)
        # Its number is the highest, so the list stays sorted.
        self.tasks.append(task)
        self._runnable.append(task)
        self._revoke()
        for spawned in self._on_spawned:
            spawned(parent, task)
        return task

    def _go_on_with(self, task: Task) -> Task | None:
        """From the hub: run `task` until the hub is wanted again; gives the task to go on with, if there is one.

        Only the hub starts tasks: a greenlet that is started by another one begins at its depth of recursion.
        """
        self._following = None
        if task.greenlet is None:
            task.greenlet = self._greenlets.take()
            asked_for = task.greenlet.switch(self._main, task)
        else:
            asked_for = task.greenlet.switch()
        return asked_for or self._following

    def _main(self, task: Task) -> None:
        """What a greenlet does for a task, from its first operation to its end."""
        worker = task.greenlet
        task.resume = worker.switch
        try:
            result = task.returned = task.fn(*task.args)
            if result is not None:
                check_ran(result, role_of(task), task.fn)
            for farewell in task.farewells:
                farewell()
        except TaskKilled:
            pass
        except Failure as failure:
            self.stop(failure)
        except ConcurrencyError as error:
            if not self._stopping:
                self.give_up(error)
        except BaseException as error:
            # A task that exits is no end of the exploration: what it would have done has not been seen.
            if from_outside(error):
                self.give_up(error)
            else:
                self.stop(uncaught(error, raised_by(error, self._observers)))
        else:
            if not self._stopping:
                self._return(task)
        task.greenlet = task.resume = None
        self._greenlets.give_back(worker)

    def _return(self, task: Task) -> None:
        """`task` has returned: the hub goes on with the next one, if there is one."""
        try:
            self._following = self._end(task)
        except Failure as failure:
            self.stop(failure)
        except ConcurrencyError as error:
            self.give_up(error)
        except BaseException as error:
            self._blame(error)
            if self._failure is None:
                self.give_up(error)

    def _end(self, task: Task) -> Task | None:
        self.steps = n = self.steps + 1
        if self._announced is not None:
            self._announced(task, END, task)
        task.ended = True
        runnable = self._runnable
        self._leave(task)
        if self._watching:
            # Its last operation, and that it has ended.
            self._last[task] = False
            self._note(task)
        heard = self._performs_heard.get(END) or self._hear_perform(END)
        for performed in heard[1]:
            performed(task, END, task, None, None)
        # Those that wait to join it.
        if self._waiting:
            self._recheck(task)
        if self._watchers:
            self._look(task, END)
        for ended in self._on_ended:
            ended(task)
        if not runnable:
            return None
        chosen = self._choose(None, n)
        self._relieved += 1
        self._who.append(chosen)
        self._when.append(n)
        self.current = chosen
        return chosen
