"""What grace periods order: the law of RCU for one reader and one grace period, followed as an execution goes on.

A task that *sees the end* of a grace period G (its `synchronize_rcu` returns, its callback runs, its poll is true)
knows all that came before the begin of G. For G and a reader R exactly one of three things holds, by when they
begin and end (kernel: Documentation/RCU/Design/Requirements/Requirements.rst, "Memory-Barrier Guarantees", v6.6; in
tools/memory-model/linux-kernel.cat it is `rcu-order`, built from `rcu-gp ; rcu-link ; rcu-rscsi` and its converse):

1. R began before G did. Then G waits for R, if R is still open, and all of R comes before what follows the end of G.
2. R ends after a task has seen the end of G. Then all of R comes after what preceded the begin of G.
3. R lies inside G: it began after G did, and has ended before any task has seen the end of G. Then neither holds. (The
   kernel promises one of the two, but a program cannot know which.)

So when a reader begins while G goes on, it is open whether case 2 or 3 will hold. If it outlasts G, then it has
known all along what came before G, and so has each task that has learned in the meantime of anything that R did.
This second order comes late: whoever keeps the orders (`Keeper`: the race detector, weak memory) must be able to
add it to the past.

Here one task writes `data`, lets a grace period begin, and sets `sent`; another one finds `sent` in a reader, and
reads `data`. With `synchronize_rcu` the reader must have outlasted the grace period, since `sent` was set after its
end: case 2. With `call_rcu` the callback may run when the reader has ended: case 3, and nothing orders the two
accesses.

>>> from sugarbush import Once, Plain, Shared, explore, spawn
>>> from sugarbush.concurrency import call_rcu, rcu_reader, synchronize_rcu
>>> class Message(Shared):
...     data: Plain[int] = 0
...     sent: Once[int] = 0
>>> def program(wait):
...     message = Message()
...     def update():
...         message.data = 1
...         if wait:
...             synchronize_rcu()
...         else:
...             call_rcu(lambda _: None, None)
...         message.sent = 1
...     def read():
...         with rcu_reader():
...             if message.sent:
...                 message.data
...     spawn(update)
...     spawn(read)
>>> explore(lambda: program(wait=True), strategy="dpor").verdict.value
'passed'
>>> explore(lambda: program(wait=False), strategy="dpor").failures[0].failure.headline
'BUG: KCSAN: data-race in Message.data: write by update, read by read'
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from sugarbush.concurrency.core import Moment, Operation, Task, active
from sugarbush.concurrency.rcu.domain import RcuDomain, is_atomic

S = TypeVar("S")
_OF_TASKS = (Moment.READER, Moment.QUIESCENT)
"""Moments that say nothing by themselves: what the task is afterwards is looked up (`GraceOrder.look`)."""


class Keeper(Protocol[S]):
    """Keeps what each task knows: the race detector by vector clocks, weak memory by views of the fields.

    An `S` is knowledge that can be handed on. It never changes once it is made, but where a method says so.
    """

    def told(self, task: Task) -> S:
        """All that `task` knows and has done up to here."""

    def joined(self, one: S, other: S) -> S:
        """What the two say together."""

    def collected(self, before: S | None, task: Task) -> S:
        """`before` and all that `task` knows and has done. `before` is kept in one place only, and may be changed."""

    def copied(self, told: S) -> S:
        """A copy, which stays as it is when `told` is changed (`collected`)."""

    def learns(self, task: Task, told: S) -> None:
        """From here on `task` knows this."""

    def epoch(self, task: Task) -> int:
        """A number that separates what `task` does from here on from what it did before."""

    def outlasted(self, reader: Reader, told: S) -> None:
        """`reader`, and each task that has learned of anything that it did, has known this since the reader began."""

    def since(self, flavour: Flavour[S], key: Hashable, task: Task) -> int:
        """A reader begins: the number of the last grace period that began before it.

        Weak memory may choose a smaller one: the reader then counts as begun before grace periods that go on.
        """


class Reader:
    """An open reader: its task, the last grace period that had begun before it, its task's epoch at that time."""

    __slots__ = ("epoch", "since", "task")

    def __init__(self, task: Task, since: int, epoch: int) -> None:
        self.task = task
        self.since = since
        self.epoch = epoch


class Grace(Generic[S]):
    """A grace period: `updates` is what came before it, `readers` what the readers did that began before.

    `split` says that its begin and its end are seen apart (a callback, a poll): tasks can do something in between
    that is ordered with it. `rcu_number` is its number in `GracePeriods`, which counts more than those that are
    followed here.
    """

    __slots__ = ("ended", "number", "rcu_number", "readers", "split", "updates")

    def __init__(self, number: int, updates: S, rcu_number: int, *, split: bool) -> None:
        self.number = number
        self.rcu_number = rcu_number
        self.split = split
        self.updates = updates
        self.readers: S | None = None
        self.ended = False


class Flavour(Generic[S]):
    """What is followed of one flavour, or one SRCU domain, in one execution."""

    # `begun` numbers the grace periods that are followed here. Each cookie makes one of its own: `get_state` begins
    # none in `GracePeriods`, but what came before it is ordered before the end that its poll sees.
    __slots__ = (
        "barriers",
        "before",
        "begun",
        "calls",
        "cookies",
        "done",
        "graces",
        "known",
        "learned",
        "obj",
        "open",
        "waits",
    )

    def __init__(self, obj: Any) -> None:
        self.obj = obj
        self.begun = 0
        self.open: dict[Hashable, Reader] = {}
        """The open readers: by task, or by index for SRCU."""
        self.before: S | None = None
        """What all readers did that have ended. They began before every grace period that begins from now on (case
        1)."""
        self.graces: dict[int, Grace[S]] = {}
        """The grace periods that have begun and whose end no task has seen yet, by number, in the order of their
        begins."""
        self.known: S | None = None
        """What came before all grace periods whose end was seen. A reader that begins now ends after that (case 2),
        so it knows it."""
        self.learned: dict[int, S | None] = {}
        """For each task, by number, the `known` that it has learned already: it need not learn it again."""
        self.waits: dict[Task, Grace[S]] = {}
        """The grace period of each task that is in synchronize_rcu()."""
        self.calls: dict[Task, deque[Grace[S]]] = {}
        """The grace periods of each task's callbacks that have not run, in the order of its calls."""
        self.cookies: dict[int, tuple[object, Grace[S]]] = {}
        """By the id of the cookie, which is kept alive beside it. Not by its value: two tasks may have cookies of
        one number, and what one of them did before it took its own must not be ordered by a poll of the other's."""
        self.done: dict[Task, S] = {}
        """For each task whose callbacks have run, what those did."""
        self.barriers: dict[Task, tuple[S | None, dict[Task, int]]] = {}
        """For each task in rcu_barrier(): what the callbacks did that have run, and how many of each task's it
        waits for."""


class GraceOrder(Generic[S]):
    """Follows the operations of one execution, and tells `keeper` what they order.

    The keeper calls `performed` for every operation with a `Moment`, and for those that turn preemption, bottom
    halves or interrupts off or on (`Operation.heeds`): after the effect, and before it does anything else about the
    operation.
    """

    def __init__(self, keeper: Keeper[S]) -> None:
        self._keeper = keeper
        self.plain: Flavour[S] = Flavour(None)
        self._others: dict[int, Flavour[S]] = {}
        self.tasks: Flavour[S] | None = None
        """Tasks RCU, from its first use on."""

    @property
    def flavours(self) -> Iterator[Flavour[S]]:
        """Plain RCU, and all other flavours and domains that have been used."""
        yield self.plain
        yield from self._others.values()

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """`op` has taken effect: note what that orders."""
        moment = op.rcu
        if moment is not None and moment not in _OF_TASKS:
            self._moment(moment, task, obj, arg, result)
        if self.tasks is not None and (
            moment is Moment.QUIESCENT or (op.ready is not None and not op.spins) or task.ended
        ):
            self._slept(self.tasks, task)
        if op.region or moment is Moment.READER:
            self.look(task)

    @property
    def kept(self) -> Iterator[S]:
        """All knowledge that is kept to be handed on later; weak memory asks, so as to forget the rest."""
        for flavour in self.flavours:
            graces = [*flavour.graces.values(), *(grace for _, grace in flavour.cookies.values())]
            for grace in graces:
                yield grace.updates
                if grace.readers is not None:
                    yield grace.readers
            yield from flavour.done.values()
            yield from (done for done, _ in flavour.barriers.values() if done is not None)
            yield from (told for told in (flavour.known, flavour.before) if told is not None)

    def look(self, task: Task) -> None:
        """A reader of plain RCU may have begun or ended: find out by what the task has off or is inside of now."""
        # One reader a task: an rcu_read_lock() inside of a spinlock is the same stretch. A reader of its own for
        # each would end too early for whatever outlasts it.
        plain = self.plain
        is_reader = task.rcu_nesting > 0 or (is_atomic(task) and not task.ended)
        if is_reader is not (task in plain.open):
            if is_reader:
                self._begins(plain, task, task)
            else:
                self._ends(plain, task, task)

    def _slept(self, tasks: Flavour[S], task: Task) -> None:
        """`task` has slept: its reader of Tasks RCU ends, and the next one begins."""
        if task in tasks.open:
            self._ends(tasks, task, task)
        if not task.ended and not task.user_mode:
            self._begins(tasks, task, task)

    def spawned(self, task: Task) -> None:
        """A task begins, and with it a reader of Tasks RCU."""
        if self.tasks is not None:
            self._begins(self.tasks, task, task)

    def undecided(self) -> Iterator[tuple[Reader, S]]:
        """Pairs of an open reader and what it will have known all along if it outlasts a grace period that goes on."""
        for flavour in self.flavours:
            if flavour.graces:
                for reader in flavour.open.values():
                    # They stand in the order of their numbers, so the first that began after the reader ends it.
                    for grace in flavour.graces.values():
                        if grace.number > reader.since:
                            break
                        yield reader, grace.updates

    def _flavour(self, obj: Any) -> Flavour[S]:
        """What is followed of the domain `obj`, made at its first use."""
        if isinstance(obj, RcuDomain):
            return self.plain
        found = self._others.get(id(obj))
        if found is None:
            found = self._others[id(obj)] = Flavour(obj)
            if obj.every_task_reads:
                self.tasks = found
                assert active.runtime is not None, "orders are followed while a program runs"
                # Nothing was followed before the first use: each task that runs now is an open reader, and what the
                # others did is behind them.
                for task in active.runtime.tasks:
                    if task.ended or task.user_mode:
                        found.before = self._keeper.collected(found.before, task)
                    else:
                        self._begins(found, task, task)
        return found

    def _moment(self, moment: Moment, task: Task, obj: Any, arg: Any, result: Any) -> None:
        """Note what an operation with this moment orders; `obj` is the `GracePeriods`."""
        flavour, keeper = self._flavour(obj), self._keeper
        if moment is Moment.BEGINS:
            self._begins(flavour, result, task)
        elif moment is Moment.ENDS:
            self._ends(flavour, arg, task)
        elif moment is Moment.WAIT:
            flavour.waits[task] = self._grace(flavour, task, obj.waiting[task], split=False)
        elif moment is Moment.WAITED:
            self._over(flavour, flavour.waits.pop(task), task)
        elif moment is Moment.CALL:
            grace = self._grace(flavour, task, obj.begun, split=True)
            flavour.calls.setdefault(task, deque()).append(grace)
        elif moment is Moment.CALLBACK:
            # The callbacks of a task run in the order of its calls, so the first of its grace periods is meant.
            self._over(flavour, flavour.calls[obj.served[task]].popleft(), task)
        elif moment is Moment.CALLED:
            # rcu_barrier() comes after the callbacks that it waited for, and after those that had run before it
            # began: of each task's row the first so many.
            whose = obj.served[task]
            told = flavour.done[whose] = keeper.told(task)
            for waiter, (before, targets) in flavour.barriers.items():
                if targets.get(whose, 0) >= obj.ran[whose]:
                    now = told if before is None else keeper.joined(before, told)
                    flavour.barriers[waiter] = (now, targets)
        elif moment is Moment.COOKIE:
            grace = self._grace(flavour, task, int(result) + 1, split=True)
            flavour.cookies[id(result)] = (result, grace)
        elif moment is Moment.POLL:
            found = flavour.cookies.get(id(arg))
            if result and found is not None:
                self._over(flavour, found[1], task)
        elif moment is Moment.BARRIER:
            done: S | None = None
            for told in flavour.done.values():
                done = told if done is None else keeper.joined(done, told)
            flavour.barriers[task] = (done, dict(obj.targets[task]))
        else:
            assert moment is Moment.BARRIER_OVER, "every moment has a branch"
            done, _ = flavour.barriers.pop(task)
            if done is not None:
                keeper.learns(task, done)

    def _begins(self, flavour: Flavour[S], key: Hashable, task: Task) -> None:
        """A reader begins. It knows what came before the grace periods that are over: it ends after their ends."""
        known = flavour.known
        if known is not None and flavour.learned.get(task.id) is not known:
            flavour.learned[task.id] = known
            self._keeper.learns(task, known)
        if flavour.graces:
            reader = Reader(task, self._keeper.since(flavour, key, task), self._keeper.epoch(task))
        else:
            # No grace period goes on that it could outlast, so its epoch will not be asked for.
            reader = Reader(task, flavour.begun, 0)
        flavour.open[key] = reader

    def _ends(self, flavour: Flavour[S], key: Hashable, task: Task) -> None:
        """A reader ends: each grace period that began after it has waited for it (case 1)."""
        reader = flavour.open.pop(key)
        flavour.before = self._keeper.collected(flavour.before, task)
        told: S | None = None
        for grace in reversed(flavour.graces.values()):
            if grace.number <= reader.since:
                break
            if told is None:
                told = self._keeper.told(task)
            self._waited_for(grace, told)

    def _waited_for(self, grace: Grace[S], told: S) -> None:
        """What a reader did comes before what follows the end of `grace`."""
        grace.readers = told if grace.readers is None else self._keeper.joined(grace.readers, told)

    def _grace(self, flavour: Flavour[S], task: Task, rcu_number: int, *, split: bool) -> Grace[S]:
        """A grace period begins: what `task` knows comes before it, and all readers that have ended do."""
        flavour.begun += 1
        made: Grace[S] = Grace(flavour.begun, self._keeper.told(task), rcu_number, split=split)
        # A copy: `before` goes on to collect what later readers do, which this one has not waited for.
        if flavour.before is not None:
            made.readers = self._keeper.copied(flavour.before)
        flavour.graces[made.number] = made
        return made

    def _over(self, flavour: Flavour[S], grace: Grace[S], task: Task) -> None:
        """`task` sees that `grace` is over; another task may have seen it before (a cookie is polled by many)."""
        keeper = self._keeper
        if not grace.ended:
            grace.ended = True
            del flavour.graces[grace.number]
            for reader in flavour.open.values():
                if reader.since < grace.number:
                    # Still open here although the grace period that began after it is over. Under Tasks RCU the
                    # task sleeps: that has ended its reader, but is no operation that has said so. In another
                    # flavour a patch has broken the model, which has forgotten the reader; then nothing orders the
                    # two.
                    if flavour is self.tasks:
                        self._waited_for(grace, keeper.told(reader.task))
                elif flavour is not self.tasks or not _sleeps(reader.task):
                    keeper.outlasted(reader, grace.updates)
            known = flavour.known
            flavour.known = grace.updates if known is None else keeper.joined(known, grace.updates)
        keeper.learns(task, grace.updates)
        if grace.readers is not None:
            keeper.learns(task, grace.readers)


def _sleeps(task: Task) -> bool:
    """Whether the task sleeps now, so that its reader of Tasks RCU has ended."""
    assert active.runtime is not None, "orders are followed while a program runs"
    return active.runtime.asleep(task)
