"""The simulated runtime: tasks are greenlets, one runs at a time, every choice is the strategy's.

Here are an execution from its beginning to its end, and what primitives ask. Who goes on is in `choosing`, how an
execution ends in `ending`, an operation in `stepping`, the life of a task in `tasks`; `liveness` is about tasks that
spin. Each is a class that builds on the one before, since all work on one state, and a call between them would be paid
at each operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from greenlet import getcurrent

from sugarbush.concurrency.core import (
    DEFAULT_LOOKS,
    DEFAULT_SPINS,
    ConcurrencyError,
    Execution,
    Failure,
    Observer,
    Operation,
    Task,
    TaskKilled,
    Watcher,
    active,
    hearers,
    one_of,
    settle_orderings,
    sights_of,
)
from sugarbush.concurrency.memory import STRONG, use_accessors
from sugarbush.concurrency.rcu import GracePeriods
from sugarbush.concurrency.runtimes.greenlets import Greenlets
from sugarbush.concurrency.runtimes.tasks import Tasks
from sugarbush.concurrency.strategies import (
    Learning,
    Reducing,
    Seeing,
    Strategy,
    Thorough,
    Watchful,
    fits,
    starts_round,
)

T = TypeVar("T")

DEFAULT_MAX_STEPS = 1_000_000


class Simulated(Tasks):
    """Runs programs, one execution after another, under one strategy."""

    tracing: bool
    parallel = False
    hushed = False
    accessors = STRONG
    """How the fields of `Shared` objects are accessed."""
    step: Callable[[Operation, object], None]
    """Announces an operation that never blocks: the variant that suits the strategy and the observers (`stepping`)."""

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
        self._on_accessed = hearers(observers, "accessed")
        self._on_performed = hearers(observers, "performed")
        self._on_blocked = hearers(observers, "blocked")
        self._on_spawned = hearers(observers, "spawned")
        self._on_allocating = hearers(observers, "allocating")
        self._on_ended = hearers(observers, "ended")
        self._on_traced = hearers(observers, "traced")
        self._on_begin = hearers(observers, "begin")
        self._on_finished = hearers(observers, "finished")
        self.tracing = bool(self._on_traced)
        self._thorough = fits(strategy, Thorough)
        self._steps_heard = {}
        self._performs_heard = {}
        self._heard = self._announced is not None or bool(self._on_accessed)
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
        self._learning = cast(Learning, strategy) if fits(strategy, Learning) else None
        self.out_of_time: Callable[[], bool] | None = None
        """Whether a budget of seconds has ended; None if there is none."""
        self.executions = 0
        """The number of the next execution, as the strategy counts them."""
        self._greenlets = Greenlets()
        self._reduces = self._thorough and fits(strategy, Reducing)
        self._seeing = cast(Seeing, strategy) if self._reduces and fits(strategy, Seeing) else None
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
        # From half of the step limit on turns are fair, so that what reaches the limit was not starved by the
        # strategy.
        self.alarm(self._max_steps // 2, self._be_fair)
        self._watch_clock()

    # -- one execution ------------------------------------------------------------------------------------------

    def run(self, program: Callable[[], Any]) -> Execution:
        """Run `program` once, under the strategy's next execution.

        Raises `BadSchedule` if a replayed schedule does not fit, `ConcurrencyError` if a program runs already.
        """
        if active.runtime is not None:
            raise ConcurrencyError("a program is running in this process: explorations do not nest")
        # Operations may have been declared since the last execution, and a class of fields used by another runtime.
        settle_orderings()
        use_accessors(self.accessors)
        self._reset()
        # Greenlets belong to the one that made them: another thread, or another greenlet, needs some of its own.
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
            for begin in self._on_begin:
                begin(self)
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
            # What is left of the tasks unwinds while the runtime is active: their clean-up makes operations, which
            # are refused.
            try:
                self._kill()
            finally:
                active.runtime = None
        if self._broken is not None:
            raise self._broken
        # Under fair turns the strategy was not asked, so these operations count as forced ones.
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
        """Tell a search that wants to know that tasks only look again."""
        if self._thorough and fits(self._strategy, Watchful):
            cast(Watchful, self._strategy).idles(changes, over=over)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers that listen to the executions."""
        return self._observers

    @property
    def trail(self) -> tuple[list[Task], list[int]]:
        """Which tasks went on so far in this execution, and after how many announced operations each."""
        return self._who, self._when

    # -- what primitives ask --------------------------------------------------------------------------------------

    def made(self, obj: object) -> None:
        """Tell a search that wants to know that there is a new object of a slab cache."""
        if self._seeing is not None:
            self._seeing.made(obj)

    def choose(self, n: int, label: str) -> int:
        """A choice that is no task: the strategy makes it, and the schedule keeps it."""
        if self._stopping:
            raise TaskKilled
        # No choice, so it is not in the schedule either.
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
        """The object that `factory` makes once in each execution."""
        found = self.domains.get(factory)
        if found is None:
            found = self.domains[factory] = factory()
        return found

    def waits(self, task: Task) -> bool:
        """Whether `task` has announced an operation that is not ready."""
        # Not by `task.op`: a task that goes on keeps the last operation that it was left at.
        return self._is_blocked(task) and task.op is not None

    def asleep(self, task: Task) -> bool:
        """Whether `task` waits and has left its CPU by that: a task that waits for a spinlock keeps it."""
        op = task.op
        return op is not None and not op.spins and task is not self.current and not self._can_go_on(task)

    def watch(self, watcher: Watcher) -> None:
        """From now on tell `watcher` of each operation with an effect, and of each task that has to wait."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell `watcher` no more."""
        self._watchers.remove(watcher)

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """Pass a tracepoint on to the observers that hear of them."""
        try:
            for traced in self._on_traced:
                traced(self.current, event, fields)
        except Failure as failure:
            self.stop(failure)
            raise

    def finds_held(self, lock: Any, *, tries: bool) -> bool | None:  # noqa: ARG002
        """None: a lock has one state, which all tasks see."""
        return None

    def might_alloc(self, gfp: int) -> None:
        """Tell the observers that the running task may allocate."""
        try:
            for allocating in self._on_allocating:
                allocating(self.current, gfp)
        except Failure as failure:
            self.stop(failure)
            raise
