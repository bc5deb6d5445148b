"""The simulated runtime: tasks are greenlets, one runs at a time, every choice is the strategy's.

Invariants:

- `_runnable` holds, by number, exactly the tasks that can go on: those that have not ended and whose announced
  operation, if it can block, is ready.
- Between two announcements nothing but the effect of the first one happens, so whatever runs before the next
  announcement sees a consistent state.
- `_quiet_until` is the operation number up to which an announcement is nobody's business: no observer listens and
  the strategy has leased the run to the current task.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent

from sugarbush.concurrency.core import (
    DEFAULT_LOOKS,
    DEFAULT_SPINS,
    END,
    MANY,
    SPAWN_HINT,
    ConcurrencyError,
    Execution,
    Failure,
    Kind,
    Observer,
    Operation,
    OutOfTime,
    Task,
    TaskKilled,
    Watcher,
    active,
    born,
    check_ran,
    check_runs,
    circle,
    describe_circle,
    describe_deadlock,
    doings,
    from_outside,
    hearers,
    is_among,
    one_of,
    own_name,
    raised_by,
    role_of,
    settle_orderings,
    sights_of,
    task_number,
    uncaught,
)
from sugarbush.concurrency.memory import STRONG, use_accessors
from sugarbush.concurrency.rcu import GracePeriods
from sugarbush.concurrency.runtimes.greenlets import Greenlets
from sugarbush.concurrency.runtimes.liveness import Liveness
from sugarbush.concurrency.strategies import (
    NUMBER_BITS,
    Learning,
    Reducing,
    Seeing,
    Strategy,
    Thorough,
    Watchful,
    starts_round,
)
from sugarbush.lockdep.model import is_part

T = TypeVar("T")

DEFAULT_MAX_STEPS = 1_000_000
_CLOCK = 4096
"""After so many operations each somebody looks at the clock, if there is a budget of seconds."""


class Simulated(Liveness):
    """Runs programs, one execution after another, under one strategy."""

    tracing: bool
    parallel = False
    hushed = False
    accessors = STRONG
    """How the fields of `Shared` objects are accessed."""
    step: Callable[[Operation, object], None]
    """See `Runtime.step`: the variant that suits the strategy and the observers."""

    def __init__(
        self,
        strategy: Strategy,
        observers: tuple[Observer, ...] = (),
        *,
        without: frozenset[str] = frozenset(),
        faults: int = 0,
        spurious: int = 0,
        max_steps: int = DEFAULT_MAX_STEPS,
        spins: int = DEFAULT_SPINS,
        looks: int = DEFAULT_LOOKS,
    ) -> None:
        self.without = without
        self._faults = faults
        self.spurious = spurious
        self._strategy = strategy
        self._ask = strategy.choose
        self._observers = observers
        self._announced = one_of(hearers(observers, "announced"))
        self._on_asked = hearers(observers, "asked")
        self._accessed = one_of(hearers(observers, "accessed"))
        self._on_performed = hearers(observers, "performed")
        self._on_blocked = hearers(observers, "blocked")
        self._on_spawned = hearers(observers, "spawned")
        self._on_allocating = hearers(observers, "allocating")
        self._on_ended = hearers(observers, "ended")
        self._on_traced = hearers(observers, "traced")
        self.tracing = bool(self._on_traced)
        self._thorough = isinstance(strategy, Thorough)
        self._heard = not (self._announced is None and self._accessed is None)
        if self._heard:
            self._step = self._step_heard
        elif self._thorough:
            self._step = self._step_thorough
        else:
            self._step = self._step_leased if strategy.numbers is None else self._step_uniform
        self._max_steps = max_steps
        self._spins = spins
        self._looks = looks
        self._circles = "circle" not in without
        self._learning = strategy if isinstance(strategy, Learning) else None
        self.out_of_time: Callable[[], bool] | None = None
        """Whether a budget of seconds has ended; None if there is none."""
        self.executions = 0
        """The number of the next execution, as the strategy counts them."""
        self._greenlets = Greenlets()
        self._reduces = isinstance(strategy, Reducing)
        self._seeing = strategy if isinstance(strategy, Seeing) else None
        self._sights = sights_of(observers)
        self._ordinary: set[object] = set()
        """The code of functions that were spawned, run when they are called, and are the user's own."""
        self._reset()

    def _reset(self) -> None:
        self.steps = 0
        self.faults = self._faults
        self.tasks: list[Task] = []
        self._names: dict[str, int] = {}
        self._runnable: list[Task] = []
        self._waiting: dict[int, dict[Task, Operation]] = {}
        self.domains: dict[Callable[[], Any], Any] = {}
        self._who: list[Task] = []
        self._when: list[int] = []
        self._data: list[tuple[int, int]] = []
        self._relieved = 1
        """How often a task went on without preempting one (`can_be_preempted`)."""
        self._watchers: list[Watcher] = []
        self._alarms: list[tuple[int, Callable[[], None]]] = []
        self._limit = self._max_steps
        self._decide_at = 0
        self._quiet_until = 0
        self._forced = 0
        self._alone_since = 0
        self._following: Task | None = None
        self._failure: Failure | None = None
        self._broken: BaseException | None = None
        self._doubt = ""
        self._stopping = False
        self.step = self._step
        self._revive()
        self.alarm(self._max_steps // 2, self._be_fair)
        if self.out_of_time is not None:
            self.alarm(_CLOCK, self._look_at_clock)

    # -- one execution ------------------------------------------------------------------------------------------

    def run(self, program: Callable[[], Any]) -> Execution:
        """Run `program` once, under the strategy's next execution.

        Raises `BadSchedule` if a replayed schedule does not fit, `ConcurrencyError` if a program runs already.
        """
        if active.runtime is not None:
            raise ConcurrencyError("a program is running in this process: explorations do not nest")
        settle_orderings()
        use_accessors(self.accessors)
        self._reset()
        if self._greenlets.hub is not getcurrent():
            self._greenlets = Greenlets()
        strategy = self._strategy
        if self._learning is not None and starts_round(self.executions):
            self._learning.learn(self._learning.lessons())
        strategy.begin(self.executions)
        if self._seeing is not None:
            self._seeing.look_with(self._sights)
        self._ask = strategy.choose
        if strategy.numbers is not None:
            self._numbers = strategy.numbers
        self.executions += 1
        active.runtime = self
        try:
            for observer in self._observers:
                observer.begin(self)
            self.current = self._start(None, program, (), "main", False)
            self._who.append(self.current)
            self._when.append(0)
            onward: Task | None = self.current
            while onward is not None:
                onward = self._go_on_with(onward)
                if onward is None:
                    onward = (self._ask_again() if self._waiting else None) or self._look_again()
            self._settle()
        finally:
            try:
                self._kill()
            finally:
                active.runtime = None
        if self._broken is not None:
            raise self._broken
        if self._fair_since >= 0:
            self._alone_since = self._fair_since
        if self._alone_since >= 0:
            self._forced += self.steps - self._alone_since
        strategy.end(self.steps, self._forced)
        return Execution(
            self._failure,
            self.steps,
            self._who,
            self._when,
            self._data,
            fair=self._fair_since >= 0,
            preemptions=max(0, len(self._who) - self._relieved),
            faults=self._faults - self.faults,
            looks_cut=self.looks_cut,
            doubt=self._doubt or (self._timed() if self._reduces else ""),
        )

    def _timed(self) -> str:
        """Why another order of independent operations may show something else, for a search that leaves those out."""
        # Where a grace period stalls is counted in operations of all tasks: what one order brings into its time, an
        # equivalent one may not. In an execution that is not as long as the time-out, no order can.
        late = any(
            isinstance(one, GracePeriods) and one.stalls is not None and one.stalls.may_ring(self.steps)
            for one in self.domains.values()
        )
        return (
            "stalls of RCU, which are counted in operations, were looked for in one order of each"
            if late
            else ""
        )

    def _idles(self, changes: int, *, over: bool) -> None:
        """See `Liveness._idles`."""
        if isinstance(self._strategy, Watchful):
            self._strategy.idles(changes, over=over)

    def _ask_again(self) -> Task | None:
        """Nobody can go on: before that is a deadlock, all who wait are asked again; gives one who can go on after all.

        Then an operation has made another one ready without saying so (``wakes=False``, or a step that has no effect
        here), or one on another object has. Nobody was wrongly reported, but where the task could have gone on
        earlier it was not tried: the execution says so (`Execution.doubt`).
        """
        if self._stopping:
            return None
        for waiting in list(self._waiting.values()):
            for task, op in waiting.items():
                assert op.ready is not None
                # The engine's own are audited in the suite: a primitive of ours that wakes nobody has that deadlock.
                if is_part(str(op.ready.__module__), ("sugarbush.concurrency",)) or self._can_go_on(task):
                    continue
                if op.ready(task.obj, task):
                    insort(self._runnable, task, key=task_number)
                    self._doubt = (
                        f"{op.name} was made ready by an operation that does not say so (wakes=True), so where it "
                        "could have gone on earlier was not tried"
                    )
        if not self._runnable:
            return None
        self._revoke()
        self._relieved += 1
        task = self._choose(None, self.steps)
        self._who.append(task)
        self._when.append(self.steps)
        self.current = task
        return task

    def _settle(self) -> None:
        """All that can run has run: see whether that is a good end."""
        if self._failure is not None or self._broken is not None:
            return
        try:
            stuck = [task for task in self.tasks if not task.ended]
            if any(not task.daemon for task in stuck):
                raise describe_deadlock(stuck)
            for observer in self._observers:
                observer.finished()
        except Failure as failure:
            self.stop(failure)
        except BaseException as error:
            self._blame(error)
            if self._failure is None:
                raise

    def _kill(self) -> None:
        """Unwind what is left of the tasks; whatever they do while they unwind ends in `TaskKilled` again."""
        self._stop()
        for task in self.tasks:
            if task.greenlet is not None:
                self.current = task
                task.greenlet.throw(TaskKilled)
            task.resume = None

    def stop(self, failure: Failure) -> None:
        """The execution has failed: whatever tasks still do has no effect."""
        if self._failure is None and not self._stopping:
            failure.step = self.steps
            if self.current is not None:
                failure.task = self.current.name
            self._failure = failure
            self._stop()

    def give_up(self, error: BaseException) -> None:
        """See `Runtime.give_up`."""
        if self._broken is None:
            self._broken = error
        self._stop()

    def _blame(self, error: BaseException) -> None:
        """An observer may have raised it: then the execution has failed, even if the program swallows it."""
        if isinstance(error, TaskKilled) or from_outside(error):
            return
        by = raised_by(error, self._observers)
        if by is not None:
            self.stop(uncaught(error, by))

    def _stop(self) -> None:
        self._stopping = True
        self.step = self._step_stopping

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who listens to the executions."""
        return self._observers

    @property
    def trail(self) -> tuple[list[Task], list[int]]:
        """Who went on so far in this execution, and after how many announced operations."""
        return self._who, self._when

    # -- what primitives ask --------------------------------------------------------------------------------------

    def _step_leased(self, op: Operation, obj: object) -> None:
        """`step` when nobody listens and the strategy grants leases."""
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
        """`step` when nobody listens and the strategy's choice is the next of its numbers, whatever is announced."""
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
            # For whoever asks what each task is doing: without it the last operation that it waited for would be told.
            task.op = op
            task.obj = obj
            self._who.append(chosen)
            self._when.append(n)
            self.current = chosen
            chosen.resume()

    def _step_thorough(self, op: Operation, obj: object) -> None:
        """`step` when nobody listens and the strategy wants to know what each task is about to do."""
        self.steps = n = self.steps + 1
        task = self.current
        task.op = op
        task.obj = obj
        chosen = self._choose(task, n)
        if chosen is not task:
            self._go(chosen, n)

    def _step_heard(self, op: Operation, obj: object) -> None:
        """`step` when somebody listens."""
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
            if self._accessed is not None:
                self._accessed(task, op, obj)
        except Failure as failure:
            self.stop(failure)
            raise
        except BaseException as error:
            self._blame(error)
            raise

    def _step_stopping(self, op: Operation, obj: object) -> None:  # noqa: ARG002
        """`step` when the execution has ended."""
        raise TaskKilled

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """See `Runtime.perform`."""
        if self._stopping:
            raise TaskKilled
        self.steps = n = self.steps + 1
        task = self.current
        try:
            if self._announced is not None:
                self._announced(task, op, obj)
            if op.dep is not None:
                for asked in self._on_asked:
                    asked(task, op, obj, arg)
            if op.touches is not None:
                task.arg = arg
            ready = op.ready
            if ready is not None and not ready(obj, task):
                self._block(task, op, obj, n)
            elif n >= self._decide_at:
                task.op = op
                task.obj = obj
                chosen = self._choose(task, n)
                if chosen is not task:
                    self._relieved += task.yielding
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
            for performed in self._on_performed:
                performed(task, op, obj, arg, result)
        except Failure as failure:
            self.stop(failure)
            raise
        except BaseException as error:
            self._blame(error)
            raise
        return result

    def load(self, op: Operation, obj: Any) -> Any:
        """See `Runtime.load`."""
        self.step(op, obj)
        return getattr(obj, op.word or "")

    def store(self, op: Operation, obj: Any, value: Any) -> None:
        """See `Runtime.store`."""
        self.step(op, obj)
        setattr(obj, op.word or "", value)

    def made(self, obj: object) -> None:
        """See `Runtime.made`."""
        if self._seeing is not None:
            self._seeing.made(obj)

    def choose(self, n: int, label: str) -> int:
        """See `Runtime.choose`."""
        if self._stopping:
            raise TaskKilled
        if n <= 1:
            return 0
        try:
            value = self._strategy.data(n, label)
        except ConcurrencyError as error:
            self.give_up(error)
            raise
        self._data.append((len(self._who), value))
        if self._watching:
            self._chooses(label)
        return value

    def domain(self, factory: Callable[[], T]) -> T:
        """See `Runtime.domain`."""
        found = self.domains.get(factory)
        if found is None:
            found = self.domains[factory] = factory()
        return found

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """See `Runtime.spawn`."""
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
        task = self._start(self.current, fn, args, name or str(getattr(fn, "__name__", "task")), daemon)
        task.born = where
        return task

    def waits(self, task: Task) -> bool:
        """See `Runtime.waits`."""
        # Not by `task.op`: a task that goes on keeps the last operation that it was left at.
        return self._is_blocked(task) and task.op is not None

    def asleep(self, task: Task) -> bool:
        """See `Runtime.asleep`."""
        op = task.op
        return op is not None and not op.spins and task is not self.current and not self._can_go_on(task)

    def watch(self, watcher: Watcher) -> None:
        """See `Runtime.watch`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """See `Runtime.unwatch`."""
        self._watchers.remove(watcher)

    def alarm(self, operations: int, ring: Callable[[], None]) -> None:
        """See `Runtime.alarm`."""
        at = self.steps + operations
        self._alarms.append((at, ring))
        self._limit = min(self._limit, at)
        self._decide_at = min(self._decide_at, self._limit)
        self._quiet_until = min(self._quiet_until, self._limit)

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """See `Runtime.trace`."""
        for traced in self._on_traced:
            traced(self.current, event, fields)

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:  # noqa: ARG002
        """See `Runtime.finds_held`."""
        return None

    def might_alloc(self, gfp: int) -> None:
        """See `Runtime.might_alloc`."""
        try:
            for allocating in self._on_allocating:
                allocating(self.current, gfp)
        except Failure as failure:
            self.stop(failure)
            raise

    # -- tasks ----------------------------------------------------------------------------------------------------

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
        for performed in self._on_performed:
            performed(task, END, task, None, None)
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

    # -- who goes on ----------------------------------------------------------------------------------------------

    def _choose(self, current: Task | None, n: int) -> Task:
        if n >= self._limit:
            self._reach_limit(n)
            if self._fair_since >= 0:
                return self._choose_fairly(current, n)
        runnable = self._runnable
        if len(runnable) == 1 and not self._thorough:
            return self._only(runnable[0], n)
        try:
            chosen = self._ask(runnable, current, n, self._forced)
        except ConcurrencyError as error:
            self.give_up(error)
            raise
        self._decide_at = until = min(n + self._strategy.lease, self._limit)
        if not self._heard:
            self._quiet_until = until
        return chosen

    def _only(self, task: Task, n: int) -> Task:
        """`task` is the only one that can run: ask nobody until that changes."""
        if self._alone_since < 0:
            self._alone_since = n - 1
        self._decide_at = self._limit
        if not self._heard:
            self._quiet_until = self._limit
        return task

    def _reach_limit(self, n: int) -> None:
        """An alarm rings, or this is the last operation that there may be."""
        try:
            if n >= self._max_steps:
                raise Failure(
                    Kind.STALL,
                    f"step limit: the execution did not end within {self._max_steps} operations",
                    doings(self.tasks, self._counts()),
                )
            due = [ring for at, ring in self._alarms if at <= n]
            self._alarms = [alarm for alarm in self._alarms if alarm[0] > n]
            self._limit = min((at for at, _ in self._alarms), default=self._max_steps)
            for ring in due:
                ring()
        except Failure as failure:
            self.stop(failure)
            raise

    def _look_at_clock(self) -> None:
        """Give the execution up if the time is up.

        Nothing else depends on the clock: a strategy that is asked once more gives the answer that stands.
        """
        assert self.out_of_time is not None
        if self.out_of_time():
            error = OutOfTime("the budget of seconds has ended")
            self.give_up(error)
            raise error
        self.alarm(_CLOCK, self._look_at_clock)

    def _revoke(self) -> None:
        """Another task can run: the strategy is asked at the next announcement."""
        self._decide_at = 0
        self._quiet_until = 0
        if self._alone_since >= 0:
            self._forced += self.steps - self._alone_since
            self._alone_since = -1

    def _go(self, to: Task, n: int) -> None:
        self._who.append(to)
        self._when.append(n)
        self.current = to
        to.resume()

    def _block(self, task: Task, op: Operation, obj: object, n: int) -> None:
        task.op = op
        task.obj = obj
        runnable = self._runnable
        self._leave(task)
        if self._circles and (found := circle(task, self._is_blocked)):
            raise describe_circle(found)
        self._waiting.setdefault(id(obj), {})[task] = op
        for blocked in self._on_blocked:
            blocked(task, op, obj)
        if self._watchers:
            self._look(task, op)
        if runnable:
            chosen = self._choose(None, n)
            self._relieved += 1
            self._go(chosen, n)
        else:
            self._greenlets.hub.switch()
        self._unwait(task, obj)

    def _is_blocked(self, task: Task) -> bool:
        return not task.ended and not self._can_go_on(task)

    def _can_go_on(self, task: Task) -> bool:
        return is_among(task, self._runnable)

    def _leave(self, task: Task) -> None:
        """`task` cannot go on."""
        runnable = self._runnable
        if len(runnable) < MANY:
            runnable.remove(task)
        else:
            del runnable[bisect_left(runnable, task.id, key=task_number)]

    def _unwait(self, task: Task, obj: object) -> None:
        waiters = self._waiting[id(obj)]
        del waiters[task]
        if not waiters:
            del self._waiting[id(obj)]

    def _look(self, task: Task, op: Operation) -> None:
        """Tell those who watch what `task` does."""
        for watcher in tuple(self._watchers):
            if watcher.looked(task, op) and self._waiting:
                self._recheck(watcher)

    def _recheck(self, obj: object) -> None:
        """The state of `obj` has changed: which of the operations announced on it are ready now?"""
        waiting = self._waiting.get(id(obj))
        if waiting is None:
            return
        if len(waiting) < MANY or not self._recheck_alike(waiting, obj):
            for task, op in waiting.items():
                assert op.ready is not None
                if op.ready(obj, task):
                    if not self._can_go_on(task):
                        insort(self._runnable, task, key=task_number)
                        self._revoke()
                elif self._can_go_on(task):
                    self._leave(task)
        if len(self._runnable) == 1 and self._alone_since < 0 and not self._thorough:
            self._only(self._runnable[0], self.steps + 1)

    def _recheck_alike(self, waiting: dict[Task, Operation], obj: object) -> bool:
        """`_recheck` for many that are ready all or none: all at once. False if they may differ."""
        if len(kinds := set(waiting.values())) > 1 or not (op := kinds.pop()).alike:
            return False
        assert op.ready is not None
        first = next(iter(waiting))
        ready = op.ready(obj, first)
        if ready is self._can_go_on(first):
            return True
        runnable = self._runnable
        if ready:
            ranked = sorted(waiting, key=task_number)
            if ranked != list(waiting):
                self._waiting[id(obj)] = dict.fromkeys(ranked, op)
            runnable += ranked
            runnable.sort(key=task_number)
            self._revoke()
        else:
            runnable[:] = sorted(set(runnable).difference(waiting), key=task_number)
        return True
