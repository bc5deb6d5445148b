"""What grace periods order: the law of RCU for one reader and one grace period, as an execution goes on.

A grace period G is over for whoever sees its end (`synchronize_rcu` returns, a callback runs, a poll is true); what
came before its begin then came before that. For G and a reader R exactly one of three things holds, told by when they
begin and end (kernel: Documentation/RCU/Design/Requirements/Requirements.rst, "Memory-Barrier Guarantees", v6.6; in
tools/memory-model/linux-kernel.cat it is `rcu-order`, built from `rcu-gp ; rcu-link ; rcu-rscsi` and its converse):

- R began before G did. Then G waits for R, if R is still open, and all of R comes before what follows the end of G.
- R ends after somebody has seen the end of G. Then all of R comes after what preceded the begin of G.
- R lies inside G. Then neither holds: the kernel promises one of the two, but nobody can know which.

So a reader that begins while G goes on learns nothing yet, and if it outlasts G it has known all along what came before
G, as has whoever learned in the meantime of anything that R did. That is why the second order comes late, and why those
who keep the orders (`Keeper`) must be able to add it to the past.

Example: a task does ``x.d = 1; call_rcu(f); x.f = 1``, another one sees ``x.f`` set, and then reads ``x.d`` in a
reader. Whether the callback runs before the reader ends decides whether the two accesses are ordered; since it may not,
the program has a race.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from sugarbush.concurrency.core import Moment, Operation, Task, active
from sugarbush.concurrency.rcu.domain import RcuDomain, is_atomic

S = TypeVar("S")
_OF_TASKS = (Moment.READER, Moment.QUIESCENT)
"""Done to a task, or to plain RCU on its behalf."""


class Keeper(Protocol[S]):
    """Who keeps what each task knows. An `S` is what can be handed on, and never changes once it is made."""

    def told(self, task: Task) -> S:
        """All that `task` knows and has done up to here."""

    def joined(self, one: S, other: S) -> S:
        """What either tells."""

    def collected(self, before: S | None, task: Task) -> S:
        """`before`, which nobody else keeps and which may be changed, and all that `task` knows and has done."""

    def copied(self, told: S) -> S:
        """The same, to be kept while `told` is changed."""

    def learns(self, task: Task, told: S) -> None:
        """From here on `task` knows this."""

    def epoch(self, task: Task) -> int:
        """What tells what `task` does from here on from what it did before."""

    def outlasted(self, reader: Reader, told: S) -> None:
        """`reader` and all that learned of it have known this since it began."""

    def since(self, flavour: Flavour[S], key: Hashable, task: Task) -> int:
        """A reader begins: the number of the last grace period before which it does not count as begun."""


class Reader:
    """An open reader: whose it is, the last grace period that had begun when it did, and when that was to its task."""

    __slots__ = ("epoch", "since", "task")

    def __init__(self, task: Task, since: int, epoch: int) -> None:
        self.task = task
        self.since = since
        self.epoch = epoch


class Grace(Generic[S]):
    """A grace period: `updates` is what came before it, `readers` what those did that it has waited for.

    `split` says that its begin and its end are apart: its task, or another one, can do something between.
    `rcu_number` is what its flavour calls it.
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
    """One flavour, or one SRCU domain, in one execution."""

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
        self.before: S | None = None
        """What all readers did that have ended: they began before every grace period that begins now."""
        self.graces: dict[int, Grace[S]] = {}
        """Those that have begun and of which nobody has seen the end, by number, in the order in which they began."""
        self.known: S | None = None
        """What came before all those whose end was seen: every reader that begins now knows it."""
        self.learned: dict[int, S | None] = {}
        """For each task, by number, the `known` that it knows."""
        self.waits: dict[Task, Grace[S]] = {}
        self.calls: dict[Task, deque[Grace[S]]] = {}
        self.cookies: dict[int, tuple[object, Grace[S]]] = {}
        """By the id of the cookie, which is kept alive: two tasks may have cookies that are the same number, and what
        one of them did before it took its own is no business of who polls the other."""
        self.done: dict[Task, S] = {}
        """For each task whose callbacks have run, what they did."""
        self.barriers: dict[Task, tuple[S | None, dict[Task, int]]] = {}


class GraceOrder(Generic[S]):
    """Follows the operations of one execution, and has `keeper` note what they order.

    `performed` is to be called for every operation with a `Moment` and for those that turn preemption off or on, after
    their effect and before the keeper does anything else about them.
    """

    def __init__(self, keeper: Keeper[S]) -> None:
        self._keeper = keeper
        self.plain: Flavour[S] = Flavour(None)
        self._others: dict[int, Flavour[S]] = {}
        self.tasks: Flavour[S] | None = None
        """Tasks RCU, if somebody uses it."""

    @property
    def flavours(self) -> Iterator[Flavour[S]]:
        """All that have been used."""
        yield self.plain
        yield from self._others.values()

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """`op` has taken effect."""
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
        """What is kept to be handed on later."""
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
        """A reader of plain RCU may have begun or ended: stretches of one task that overlap are one."""
        plain = self.plain
        is_reader = task.rcu_nesting > 0 or (is_atomic(task) and not task.ended)
        if is_reader is not (task in plain.open):
            if is_reader:
                self._begins(plain, task, task)
            else:
                self._ends(plain, task, task)

    def _slept(self, tasks: Flavour[S], task: Task) -> None:
        """`task` has slept: a reader of Tasks RCU is what it does from one sleep to the next."""
        if task in tasks.open:
            self._ends(tasks, task, task)
        if not task.ended and not task.user_mode:
            self._begins(tasks, task, task)

    def spawned(self, task: Task) -> None:
        """A task begins."""
        if self.tasks is not None:
            self._begins(self.tasks, task, task)

    def undecided(self) -> Iterator[tuple[Reader, S]]:
        """Open readers, each with what it will have known if it outlasts a grace period that goes on."""
        for flavour in self.flavours:
            if flavour.graces:
                for reader in flavour.open.values():
                    for grace in flavour.graces.values():
                        if grace.number > reader.since:
                            break
                        yield reader, grace.updates

    def _flavour(self, obj: Any) -> Flavour[S]:
        if isinstance(obj, RcuDomain):
            return self.plain
        found = self._others.get(id(obj))
        if found is None:
            found = self._others[id(obj)] = Flavour(obj)
            if obj.every_task_reads:
                self.tasks = found
                assert active.runtime is not None
                for task in active.runtime.tasks:
                    if task.ended or task.user_mode:
                        found.before = self._keeper.collected(found.before, task)
                    else:
                        self._begins(found, task, task)
        return found

    def _moment(self, moment: Moment, task: Task, obj: Any, arg: Any, result: Any) -> None:
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
            assert moment is Moment.BARRIER_OVER
            done, _ = flavour.barriers.pop(task)
            if done is not None:
                keeper.learns(task, done)

    def _begins(self, flavour: Flavour[S], key: Hashable, task: Task) -> None:
        known = flavour.known
        if known is not None and flavour.learned.get(task.id) is not known:
            flavour.learned[task.id] = known
            self._keeper.learns(task, known)
        if flavour.graces:
            reader = Reader(task, self._keeper.since(flavour, key, task), self._keeper.epoch(task))
        else:
            # It outlasts no grace period that goes on, so nobody will ask when it was to its task.
            reader = Reader(task, flavour.begun, 0)
        flavour.open[key] = reader

    def _ends(self, flavour: Flavour[S], key: Hashable, task: Task) -> None:
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
        grace.readers = told if grace.readers is None else self._keeper.joined(grace.readers, told)

    def _grace(self, flavour: Flavour[S], task: Task, rcu_number: int, *, split: bool) -> Grace[S]:
        flavour.begun += 1
        made: Grace[S] = Grace(flavour.begun, self._keeper.told(task), rcu_number, split=split)
        if flavour.before is not None:
            made.readers = self._keeper.copied(flavour.before)
        flavour.graces[made.number] = made
        return made

    def _over(self, flavour: Flavour[S], grace: Grace[S], task: Task) -> None:
        """`task` sees that `grace` is over, perhaps not as the first."""
        keeper = self._keeper
        if not grace.ended:
            grace.ended = True
            del flavour.graces[grace.number]
            for reader in flavour.open.values():
                if reader.since < grace.number:
                    # A task that sleeps has ended its reader, though it has performed nothing since that would say so.
                    # Any other flavour has forgotten the reader (a patch broke it), so nothing orders the two.
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
    assert active.runtime is not None
    return active.runtime.asleep(task)
