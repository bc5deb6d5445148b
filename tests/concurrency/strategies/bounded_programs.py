"""Random programs for the searches with a bound on preemptions, and plain enumeration that tells traces apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from sugarbush.concurrency import (
    Completion,
    Failure,
    Kind,
    KmemCache,
    Mutex,
    Once,
    RwLock,
    RwSemaphore,
    Semaphore,
    Shared,
    cond_resched,
    join,
    spawn,
)
from sugarbush.concurrency.checks.dependence import Dependence
from sugarbush.concurrency.core.operation import Place
from sugarbush.concurrency.core.runtime import current_task
from sugarbush.concurrency.core.sight import Sight, Sights
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.lowlevel import (
    DepthFirst,
    Observer,
    Operation,
    Runtime,
    Simulated,
    peek,
    perform,
    poke,
    quiet,
)
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.events import Events
from sugarbush.lockdep.model.gfp import GFP_KERNEL

Statement = tuple[Any, ...]
Body = list[Statement]


class Places(Shared):
    """What the tasks share."""

    x: Once[int]
    y: Once[int]
    z: Once[int]
    w: Once[int] = 0


class Thing:
    """Something that is freed; who takes its lock touches it without an operation."""

    def __init__(self) -> None:
        self.lock = Mutex("thing")


class Enumeration(DepthFirst):
    """`DepthFirst`, which is told of every operation and gives each completed execution the number of its trace."""

    thorough = True

    def __init__(self, bound: int, dependence: Dependence | None = None) -> None:
        super().__init__(bound)
        self.dependence = dependence or Dependence()
        self.seen: set[int] = set()

    def begin(self, execution: int) -> None:
        super().begin(execution)
        self.trace = Events(self.dependence)

    @property
    def traces(self) -> int:
        """How many traces there were."""
        return len(self.seen)

    def made(self, obj: object) -> None:
        """As `BoundedDPOR`."""
        self.trace.made(obj)

    @property
    def digest(self) -> str:
        """Nobody asks."""
        return ""

    def look_with(self, sights: Sights) -> None:
        """As `BoundedDPOR`: what checks see is a part of the trace."""
        self.trace.look_with(sights)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        chosen = super().choose(runnable, current, step, forced)
        trace = self.trace
        if not trace.tasks:
            trace.tasks[0] = current_task()
        trace.arrive(runnable)
        trace.make(chosen, trace.edges(chosen))
        return chosen

    def data(self, n: int, label: str) -> int:
        value = super().data(n, label)
        self.trace.chose(value)
        return value

    def end(self, steps: int, forced: int) -> None:
        self.seen.add(self.trace.signature)
        super().end(steps, forced)


def _move(places: Places, _task: Task, arg: tuple[str, str]) -> int:
    value: int = peek(places, arg[0])
    poke(places, arg[1], value)
    return value


def _moves(places: Places, _task: Task, arg: tuple[str, str]) -> list[Place]:
    return [(places, arg[0], False), (places, arg[1], True)]


def _follow(places: Places, _task: Task, _arg: object) -> int:
    """Adds to one of two fields, by what a third one says: what it touches depends on the state."""
    name = "y" if peek(places, "x") else "z"
    poke(places, name, peek(places, name) + 1)
    poke(places, "w", 1)
    return int(peek(places, name))


def _follows(places: Places, _task: Task, _arg: object) -> list[Place] | None:
    if peek(places, "x") == 2:
        return None
    return [(places, "x", False), (places, "w", True), (places, "y" if peek(places, "x") else "z", True)]


def _is_set(places: Places, _task: Task) -> bool:
    return bool(peek(places, "w"))


def _waits(places: Places, _task: Task, _arg: object) -> list[Place]:
    return [(places, "w", False)]


MOVE = Operation("move", effect=_move, wakes=True, touches=_moves)
FOLLOW = Operation("follow", effect=_follow, wakes=True, touches=_follows)
AWAIT = Operation("await", ready=_is_set, touches=_waits)
_WRITES_X = frozenset([MOVE, FOLLOW, Places._fields["x"].ops["write"]])
_WRITES_Y = Places._fields["y"].ops["write"]


class Sees(Sight):
    """Looks at x and y after a lock was given back, and after what may have written to x; 4 writes to y."""

    bits = 3

    def kinds(self, task: Task, op: Operation, obj: object, arg: object) -> int:
        """See `Sight.kinds`."""
        if op is Mutex._unlock and isinstance(obj, Mutex) and obj.name == "l":
            return 1
        return 2 if op in _WRITES_X else 4 if op is _WRITES_Y else 0

    def sees(self, kinds: int) -> int:
        """See `Sight.sees`."""
        # Two operations that may write to x are at different places if one of them writes to y or z after all.
        return {0: 0, 1: 6, 2: 7, 4: 3}[kinds]


class Judge(Observer):
    """Fails where two values meet after an unlock of one lock, or right after a write."""

    def __init__(self, sight: Sight | None, world: World) -> None:
        self.sight = sight
        self.world = world
        self.looks = False

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self.looks = False

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.accessed`."""
        self.looks = self.looks or op in _WRITES_X

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """See `Observer.performed`."""
        self.looks = self.looks or op in _WRITES_X or (op is Mutex._unlock and obj.name == "l")

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.announced`."""
        if self.looks:
            self.looks = False
            with quiet():
                x, y = self.world.places.x, self.world.places.y
            if (x, y) in ((1, 2), (3, 1), (2, 3)):
                raise Failure(Kind.INVARIANT, f"judge: x is {x}, y is {y}")


class World:
    """Runs a program; `log` tells what each task has seen."""

    def __init__(self, tasks: list[Body]) -> None:
        self.bodies = tasks
        self.log: list[list[Any]] = []

    def program(self) -> None:
        """The tasks beside each other."""
        self.places = Places(x=0, y=0, z=0)
        self.locks = {name: Mutex(name) for name in "lmn"}
        self.rwsem = RwSemaphore("rw")
        self.rwlock = RwLock("spins")
        self.semaphore = Semaphore(1)
        self.done = Completion()
        self.cache = KmemCache("thing", Thing)
        self.thing = self.cache.alloc(GFP_KERNEL)
        self.log = [[] for _ in self.bodies]
        self.tasks: list[Task] = []
        for log, body in zip(self.log, self.bodies, strict=True):
            self.tasks.append(spawn(self._run, log, body))
        join(*self.tasks)

    def _run(self, log: list[Any], body: Body) -> None:
        places = self.places
        last = 0
        for verb, *rest in body:
            if verb == "read":
                log.append(last := getattr(places, rest[0]))
            elif verb == "write":
                setattr(places, *rest)
            elif verb == "write_if":
                if last:
                    setattr(places, *rest)
            elif verb == "read_if":
                if last:
                    log.append(last := getattr(places, rest[0]))
            elif verb == "fail_if":
                assert last != rest[0], f"{len(log)}"
            elif verb == "trylock":
                if self.locks[rest[0]].trylock():
                    log.append("got")
                    self.locks[rest[0]].unlock()
            elif verb == "move":
                log.append(last := perform(MOVE, places, tuple(rest)))
            elif verb == "follow":
                log.append(last := perform(FOLLOW, places))
            elif verb == "await":
                perform(AWAIT, places)
            else:
                getattr(self, f"_{verb}")(log, *rest)

    def _lock(self, _log: list[Any], name: str) -> None:
        self.locks[name].lock()

    def _unlock(self, _log: list[Any], name: str) -> None:
        self.locks[name].unlock()

    def _rwsem(self, _log: list[Any], method: str) -> None:
        getattr(self.rwsem, method)()

    def _rwlock(self, _log: list[Any], method: str) -> None:
        getattr(self.rwlock, method)()

    def _semaphore(self, _log: list[Any], method: str) -> None:
        getattr(self.semaphore, method)()

    def _done(self, _log: list[Any], method: str) -> None:
        getattr(self.done, method)()

    def _offer(self, _log: list[Any]) -> None:
        cond_resched()

    def _join(self, _log: list[Any], number: int) -> None:
        join(self.tasks[number])

    def _use(self, _log: list[Any]) -> None:
        with self.thing.lock:
            pass

    def _touch(self, _log: list[Any]) -> None:
        self.thing.lock  # noqa: B018

    def _free(self, _log: list[Any]) -> None:
        self.cache.free(self.thing)

    def outcome(self, failure: Any) -> Any:
        """What the tasks have seen, and how it ended."""
        if failure is None or failure.kind == "deadlock":
            told = "" if failure is None else "deadlock"
            return told, tuple(tuple(log) for log in self.log), self.places.x, self.places.y, self.places.z
        assert failure.kind != "exception" or "AssertionError" in failure.headline, failure.headline
        return str(failure.headline).split(" at ")[0]


def random_body(random: Random, length: int) -> Body:
    """The statements of one task."""
    body: Body = []
    held: list[str] = []
    while len(body) < length:
        what = random.randrange(20)
        place = random.choice("xyz")
        if what < 5:
            body.append(("read", place))
        elif what < 9:
            body.append(("write", place, random.randint(1, 2)))
        elif what < 11:
            body.append(random.choice([("write_if", place, 3), ("read_if", place)]))
        elif what < 14 and len(held) < 2:
            name = random.choice([one for one in "lmn" if one not in held])
            held.append(name)
            body.append(("lock", name))
        elif what < 16 and held:
            body.append(("unlock", held.pop(random.randrange(len(held)))))
        elif what == 16:
            body.append(("offer",))
        elif what == 17:
            body += random.choice(
                [
                    [("rwsem", "down_read"), ("rwsem", "up_read")],
                    [("rwsem", "down_write"), ("rwsem", "up_write")],
                    [("semaphore", "down"), ("semaphore", "up")],
                    [("semaphore", "down")],
                    [("done", "wait")],
                    [("done", "complete")],
                ]
            )
        elif what == 18:
            body.append(("trylock", random.choice("lmn")) if not held else ("offer",))
        elif what == 19:
            body.append(random.choice([("fail_if", 2), ("use",), ("touch",)]))
    body += [("unlock", name) for name in reversed(held)]
    return body


def placing_program(random: Random) -> list[Body]:
    """Two or three tasks, some of whose operations say themselves what they touch."""
    tasks = random_program(random)
    for body in tasks:
        for _ in range(random.randint(0, 2)):
            place = random.choice("xyz")
            new = random.choice(
                [("move", place, random.choice("xyz".replace(place, ""))), ("follow",), ("await",)]
            )
            body.insert(random.randint(0, len(body)), new)
    return tasks


def joining_program(random: Random) -> list[Body]:
    """Two to four tasks, some of which wait for the end of one that was spawned before them."""
    tasks = random_program(random)
    if random.randrange(2):
        tasks.insert(0, random_body(random, random.randint(1, 2)))
    for number, body in enumerate(tasks):
        for _ in range(random.randint(0, 2) if number else 0):
            body.insert(random.randint(0, len(body)), ("join", random.randrange(number)))
    return tasks


def random_program(random: Random) -> list[Body]:
    """Two or three tasks."""
    many = random.choice([2, 2, 3])
    tasks = [random_body(random, random.randint(1, 5 if many == 2 else 3)) for _ in range(many)]
    if any(("use",) in body or ("touch",) in body for body in tasks):
        tasks[random.randrange(many)].insert(0, ("free",))
    return tasks


class TooMany(Exception):
    """More executions than the comparison wants to see."""


def all_of(
    tasks: list[Body],
    search: Any,
    most: int,
    sight: Sight | None = None,
    runs: type[Simulated] = Simulated,
    within: type[World] = World,
) -> set[Any]:
    """The outcomes of all executions of a search; with `sight` a check looks on the way."""
    world = within(tasks)
    runtime = runs(search, () if sight is None else (Judge(sight, world),))
    outcomes = set()
    begun = 0
    while search.left:
        begun += 1
        if begun > most:
            raise TooMany
        try:
            execution = runtime.run(world.program)
        except Pruned:
            continue
        outcomes.add(world.outcome(execution.failure))
    return outcomes


def differs(
    tasks: list[Body],
    bound: int,
    most: int,
    make: Callable[[int], BoundedDPOR] = BoundedDPOR,
    sight: Sight | None = None,
) -> str:
    """How the reduced search and plain enumeration within the bound differ; empty if they do not."""
    every = Enumeration(bound)
    wanted = all_of(tasks, every, most, sight)
    reduced = make(bound)
    got = all_of(tasks, reduced, 2 * most, sight)
    if any(verb == "join" for body in tasks for verb, *_ in body):
        # A circle of waiting tasks is a failure at once, and how far the others have come by then is no matter.
        wanted, got = (
            {"deadlock" if one[0] == "deadlock" else one for one in ends} for ends in (wanted, got)
        )
    if got != wanted:
        return f"lost {sorted(map(repr, wanted - got))[:3]}, invented {sorted(map(repr, got - wanted))[:3]}"
    if any(isinstance(outcome, str) for outcome in wanted):
        return ""
    if reduced._seen != every.seen:
        return f"{len(every.seen)} traces within the bound, {reduced.traces} seen, all outcomes"
    return ""


WRITTEN: dict[str, tuple[list[Body], int]] = {
    # The first task is preempted while it holds the lock. The second has read x, and waits; only so it reads y last.
    "preempted with a lock that the next one waits for": (
        [
            [("write", "z", 1), ("lock", "m"), ("unlock", "m"), ("write", "x", 1), ("write", "y", 1)],
            [("read", "z"), ("read", "x"), ("lock", "m"), ("read", "y"), ("unlock", "m")],
        ],
        1,
    ),
    # It touches the thing where it starts, which is then freed before its first operation.
    "preempted right after its start": ([[("touch",), ("read", "x")], [("free",), ("write", "x", 1)]], 1),
    # It starts before something is freed, and goes on after that: the other one waits for its lock before it frees.
    "preempted right after its start, by who waits for its lock": (
        [[("lock", "m"), ("unlock", "m")], [("lock", "m"), ("free",), ("unlock", "m")]],
        1,
    ),
    # The second task fails when it has given the lock back; the first one has waited for it, and can go on by then.
    "fails when it has let another one go on": (
        [
            [("lock", "l"), ("use",), ("unlock", "l")],
            [("free",), ("lock", "l"), ("unlock", "l"), ("use",)],
        ],
        1,
    ),
    # The third task waits for the end of the first: only if that comes last it stops there at no cost, and reads 2.
    "waits for the end of a task": (
        [[("write", "z", 1)], [("write", "x", 2)], [("write", "x", 1), ("join", 0), ("read", "x")]],
        0,
    ),
    # Both are put off at the first point. The holder offers its CPU: only if the waiter stands at the lock by then does
    # its release let that go on; and the waiter waits there only because the holder has come before.
    "waits for a lock whose holder has offered its CPU": (
        [
            [("write", "y", 1), ("lock", "m"), ("read", "y"), ("unlock", "m")],
            [("write", "y", 2)],
            [("lock", "m"), ("offer",), ("unlock", "m")],
        ],
        0,
    ),
    # After the second task the third was put off for nothing; but the first one may go on there as well.
    "another one than who was put off": (
        [[("read", "x")], [("write", "z", 2), ("write", "x", 2), ("write", "z", 2)], [("write", "z", 2)]],
        0,
    ),
    # Who comes second waits for ever, and its operation is never made.
    "waits to the end": ([[("lock", "m"), ("write", "x", 1)], [("lock", "m"), ("write", "y", 1)]], 0),
}
"""Programs that random ones of this size hardly meet, each with its bound."""
