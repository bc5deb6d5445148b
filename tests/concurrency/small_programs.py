"""Random small programs, all their executions by plain enumeration, and the traces that these belong to."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from concurrency_programs import EverySchedule

from sugarbush.concurrency import (
    Atomic,
    Completion,
    Condition,
    Mutex,
    Once,
    RwLock,
    RwSemaphore,
    Semaphore,
    Shared,
    Task,
    WaitQueue,
    check,
    join,
    rcu_reader,
    schedule,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.checks.dependence import Dependence
from sugarbush.concurrency.lowlevel import Simulated, active
from sugarbush.concurrency.strategies import Pruned

Instruction = tuple[Any, ...]
Outcome = tuple[Any, ...]


class Pair(Shared):
    """Two fields and a counter."""

    a: Once[int] = 0
    b: Once[int] = 0
    n: Atomic[int] = 0


class Machine:
    """Runs a program that is data; what it leaves behind is compared.

    Every task logs what it saw in a list of its own, under the path by which it was spawned.
    """

    def __init__(self, tasks: list[list[Instruction]]) -> None:
        self.tasks = tasks
        self.logs: dict[str, list[Any]] = {}
        self.pairs: list[Pair] = []

    def program(self) -> None:
        self.logs = {}
        self.pairs = [Pair(), Pair()]
        self.mutexes = [Mutex("m0"), Mutex("m1")]
        self.sem = RwSemaphore("s")
        self.rwlock = RwLock("r")
        self.room = Semaphore(1, "room")
        self.completion = Completion("c")
        self.queue = WaitQueue("q")
        self.condition = Condition(name="v")
        children = [spawn(self._body, f"{n}", body, name=f"t{n}") for n, body in enumerate(self.tasks)]
        self.children = children

    @property
    def outcome(self) -> Outcome:
        values = tuple((pair._a, pair._b, pair._n) for pair in self.pairs)
        return values, tuple(sorted((path, tuple(log)) for path, log in self.logs.items()))

    def _body(self, path: str, body: list[Instruction]) -> None:
        log = self.logs.setdefault(path, [])
        for number, (what, *rest) in enumerate(body):
            getattr(self, "do_" + what)(log, f"{path}.{number}", *rest)

    def _inner(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        for number, (what, *rest) in enumerate(body):
            getattr(self, "do_" + what)(log, f"{path}.{number}", *rest)

    def do_get(self, log: list[Any], _path: str, pair: int, field: str) -> None:
        log.append(getattr(self.pairs[pair], field))

    def do_set(self, _log: list[Any], _path: str, pair: int, field: str, value: int) -> None:
        setattr(self.pairs[pair], field, value)

    def do_add(self, _log: list[Any], _path: str, pair: int, field: str) -> None:
        setattr(self.pairs[pair], field, getattr(self.pairs[pair], field) + 1)

    def do_expect(self, _log: list[Any], path: str, pair: int, field: str, value: int) -> None:
        check(getattr(self.pairs[pair], field) != value, f"{path}: {field} is never {value}")

    def do_lock(self, log: list[Any], path: str, mutex: int, body: list[Instruction]) -> None:
        with self.mutexes[mutex]:
            self._inner(log, path, body)

    def do_try(self, log: list[Any], path: str, mutex: int, body: list[Instruction]) -> None:
        got = self.mutexes[mutex].trylock()
        log.append(got)
        if got:
            self._inner(log, path, body)
            self.mutexes[mutex].unlock()

    def do_read(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        self.sem.down_read()
        self._inner(log, path, body)
        self.sem.up_read()

    def do_write(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        self.sem.down_write()
        self._inner(log, path, body)
        if path.endswith("0"):
            self.sem.up_write()
        else:
            self.sem.downgrade_write()
            self.sem.up_read()

    def do_tryread(self, log: list[Any], _path: str) -> None:
        got = self.sem.down_read_trylock()
        log.append(got)
        if got:
            self.sem.up_read()

    def do_rcu(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        with rcu_reader():
            self._inner(log, path, body)

    def do_sync(self, _log: list[Any], _path: str) -> None:
        synchronize_rcu()

    def do_share(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        with self.rwlock.read():
            self._inner(log, path, body)

    def do_own(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        with self.rwlock.write():
            self._inner(log, path, body)

    def do_tryown(self, log: list[Any], _path: str) -> None:
        got = self.rwlock.write_trylock()
        log.append(got)
        if got:
            self.rwlock.write_unlock()

    def do_room(self, log: list[Any], path: str, body: list[Instruction]) -> None:
        with self.room:
            self._inner(log, path, body)

    def do_complete(self, _log: list[Any], _path: str) -> None:
        self.completion.complete()

    def do_await(self, _log: list[Any], _path: str) -> None:
        self.completion.wait()

    def do_deadline(self, log: list[Any], _path: str) -> None:
        log.append(self.completion.wait_timeout(1) > 0)

    def do_nap(self, log: list[Any], _path: str) -> None:
        """A sleep that is lost if the wake-up comes too early."""
        self.queue.prepare_to_wait()
        if self.pairs[0].a == 0:
            schedule()
            log.append("woken")
        self.queue.finish_wait()

    def do_wake(self, log: list[Any], _path: str, everybody: bool) -> None:
        log.append(self.queue.wake_up_all() if everybody else self.queue.wake_up())

    def do_monitor(self, log: list[Any], _path: str, wants: int) -> None:
        with self.condition:
            while self.pairs[0].b < wants:
                self.condition.wait()
            log.append(self.pairs[0].b)

    def do_notify(self, _log: list[Any], _path: str) -> None:
        with self.condition:
            self.pairs[0].b += 1
            self.condition.notify()

    def do_choose(self, log: list[Any], _path: str, n: int) -> None:
        log.append(active.runtime.choose(n, "value"))

    def do_fork(self, log: list[Any], path: str, body: list[Instruction], waits: bool) -> None:
        child = spawn(self._body, path, body, name=path)
        if waits:
            join(child)
            log.append("joined")


BLOCKS = ("lock", "lock", "try", "read", "write", "tryread", "rcu", "sync", "choose", "fork")
WAITS = (
    "share",
    "own",
    "tryown",
    "room",
    "complete",
    "await",
    "deadline",
    "nap",
    "wake",
    "monitor",
    "notify",
)


def random_program(
    random: Random, *, failing: bool, blocks: tuple[str, ...] = BLOCKS, most: int = 8
) -> list[list[Instruction]]:
    """Two or three tasks of a few operations, together at most `most`."""
    budget = random.randint(4, most)
    tasks = random.choice([2, 2, 3])
    leaves = ["get", "get", "set", "set", "add"] + (["expect"] if failing else [])
    liked = random.sample(blocks, 3)
    sleeps_badly = {"lock", "read", "write", "sync", "tryread", "fork", "room", "await", "deadline", "nap"}
    sleeps_badly |= {"monitor", "notify"}

    def instruction(left: list[int], inside: frozenset[str]) -> Instruction:
        left[0] -= 1
        allowed = [
            kind
            for kind in liked
            if left[0] >= 1
            and not (kind == "fork" and inside)
            and not (inside & {"rcu", "share", "own"} and kind in sleeps_badly)
            and not (kind in ("share", "own", "tryown") and inside & {"share", "own"})
            and not (kind in ("nap", "monitor", "notify") and inside)
            and not (kind in ("read", "write") and inside & {"read", "write"})
            and not (kind == "try" and "try" in inside)
        ]
        kind = random.choice(leaves + allowed * 2)
        where = (random.choice([0, 0, 0, 1]), random.choice("aaab"))
        if kind == "get":
            return (kind, *where)
        if kind == "add":
            return (kind, where[0], random.choice("aabn"))
        if kind in ("set", "expect"):
            return (kind, *where, random.randint(1, 2))
        if kind == "choose":
            return (kind, random.randint(2, 3))
        if kind in ("tryread", "sync", "tryown", "complete", "await", "deadline", "nap", "notify"):
            left[0] -= 1
            return (kind,)
        if kind == "wake":
            return (kind, random.random() < 0.5)
        if kind == "monitor":
            left[0] -= 1
            return (kind, random.randint(1, 2))
        left[0] -= 1
        body = block(left, inside | {kind}, random.randint(0, 2))
        if kind in ("lock", "try"):
            return (kind, random.choice([0, 0, 1]), body)
        if kind == "fork":
            return (kind, body, random.random() < 0.6)
        return (kind, body)

    def block(left: list[int], inside: frozenset[str], most: int) -> list[Instruction]:
        body: list[Instruction] = []
        while left[0] > 0 and len(body) < most:
            body.append(instruction(left, inside))
        return body

    return [block([budget // tasks + (n < budget % tasks)], frozenset(), 4) for n in range(tasks)]


class Events:
    """Another strategy, asked at every operation, with the trace of each execution.

    A trace is the set of pairs of dependent events in their order; an event is a task and how many it had. With
    `named` a task is its name, which does not depend on who spawned first.
    """

    name, thorough, numbers, lease, bound, cut = "events", True, None, 1, None, 0

    def __init__(self, inner: Any, *, named: bool = False) -> None:
        self.inner = inner
        self.named = named
        self.dependence = Dependence()

    @property
    def left(self) -> bool:
        return bool(self.inner.left)

    def begin(self, execution: int) -> None:
        self.inner.begin(execution)
        self.events: list[tuple[tuple[int | str, int], Any, Any]] = []
        self.count: dict[int | str, int] = {}

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        if len(runnable) > 1 or getattr(self.inner, "thorough", False):
            chosen = self.inner.choose(runnable, current, step, forced)
        else:
            chosen = runnable[0]
        key = chosen.name if self.named else chosen.id
        number = self.count[key] = self.count.get(key, 0) + 1
        self.events.append(((key, number), chosen.op, chosen.obj))
        return chosen

    def data(self, n: int, label: str) -> int:
        return int(self.inner.data(n, label))

    def end(self, steps: int, forced: int) -> None:
        self.inner.end(steps, forced)

    @property
    def trace(self) -> frozenset[Any]:
        pairs = {
            (one[0], two[0])
            for at, two in enumerate(self.events)
            for one in self.events[:at]
            if self.dependence.dependent(one[1], one[2], two[1], two[2])
        }
        return frozenset(pairs) | {event[0] for event in self.events}


def outcome_of(machine: Machine, failure: Any) -> Outcome:
    """How an execution of a machine has ended; after a failure values of no other task are compared."""
    if failure is None:
        return "done", *machine.outcome
    if failure.kind == "deadlock":
        return "deadlock", failure.headline, *machine.outcome
    return "failed", failure.headline, failure.task


def all_outcomes(
    tasks: list[list[Instruction]], strategy: Any, limit: int
) -> tuple[set[Outcome], list[Any], int] | None:
    """Outcomes (a failure by its kind and words), the traces of the executions, and how many were given up.

    None if there are more than `limit` executions.
    """
    machine = Machine(tasks)
    events = Events(strategy, named=True)
    runtime = Simulated(events, without=frozenset({"circle"}))
    found: set[Outcome] = set()
    traces: list[Any] = []
    pruned = 0
    while strategy.left:
        if len(traces) + pruned >= limit:
            return None
        try:
            execution = runtime.run(machine.program)
        except Pruned:
            pruned += 1
            continue
        failure = execution.failure
        found.add(outcome_of(machine, failure))
        traces.append((events.trace, machine.outcome))
    return found, traces, pruned


def enumerated(tasks: list[list[Instruction]], limit: int) -> tuple[set[Outcome], list[Any], int] | None:
    """All outcomes by plain enumeration."""
    return all_outcomes(tasks, EverySchedule(), limit)
