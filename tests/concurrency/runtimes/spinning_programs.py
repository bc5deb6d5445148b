"""Random small programs with loops that look, and all that can become of them by a search of their own.

A task is a list of statements; the search knows nothing of the engine: it goes through the states of a small machine,
in which a loop that never gives up is a way back, so that it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from sugarbush.concurrency import (
    READ_ONCE,
    Failure,
    Once,
    Settings,
    Shared,
    Spinlock,
    cmpxchg,
    cpu_relax,
    spawn,
    xchg,
)
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies import Pruned
from sugarbush.concurrency.strategies.table import make_strategy

Statement = tuple[Any, ...]
Program = list[list[Statement]]
FIELDS = ("a", "b")
WITHOUT = frozenset({"lockdep", "data-race", "leak"})


class Place(Shared):
    a: Once[int] = 0
    b: Once[int] = 0


# -- by the engine ----------------------------------------------------------------------------------------------------


class Machine:
    """Runs a program; `logs` is what its tasks have seen."""

    def __init__(self, tasks: Program) -> None:
        self.tasks = tasks

    def program(self) -> None:
        self.place = Place()
        self.lock = Spinlock("lock")
        self.logs: list[list[Any]] = [[] for _ in self.tasks]
        for number, body in enumerate(self.tasks):
            spawn(self._run, self.logs[number], body, 0, name=f"t{number}")

    def _run(self, log: list[Any], body: list[Statement], at: int) -> None:
        # No loop goes through the statements: how far one has come could not be seen, so no look would be like another.
        if at == len(body):
            return
        what, *rest = body[at]
        if what == "set":
            setattr(self.place, rest[0], rest[1])
        elif what == "get":
            log.append(getattr(self.place, rest[0]))
        elif what == "lock":
            self.lock.lock()
        elif what == "unlock":
            self.lock.unlock()
        elif what == "while":
            self._for_ever(rest[0])
        elif what == "for":
            log.append(self._for(rest[0], rest[1]))
        else:
            log.append(self._count(rest[0], rest[1]))
        self._run(log, body, at + 1)

    def _for_ever(self, look: Statement) -> None:
        while not self._looks(look):
            cpu_relax()

    def _for(self, most: int, look: Statement) -> bool:
        for _ in range(most):
            if self._looks(look):
                return True
            cpu_relax()
        return False

    def _count(self, most: int, look: Statement) -> bool:
        tries = 0
        while tries < most:
            if self._looks(look):
                return True
            tries += 1
            cpu_relax()
        return False

    def _looks(self, look: Statement) -> bool:
        what, *rest = look
        if what == "is":
            return bool(READ_ONCE(self.place, rest[0]) == rest[1])
        if what == "both":
            return bool(self.place.a and self.place.b)
        if what == "xchg":
            return bool(xchg(self.place, rest[0], rest[1]) == rest[2])
        if what == "cas":
            return bool(cmpxchg(self.place, rest[0], rest[1], rest[2]) == rest[1])
        if what == "again":
            self.place.b = rest[0]
            return bool(self.place.a)
        if what == "held":
            with self.lock:
                return bool(self.place.a)
        return self.lock.trylock()


def outcomes(tasks: Program, name: str, most: int, **how: Any) -> set[Any] | None:
    """What can come of a program; None if it takes more than `most` executions."""
    machine = Machine(tasks)
    settings = Settings(without=WITHOUT, **{"max_steps": 3000, **how})
    strategy: Any = make_strategy(name, 1)
    runtime: Simulated = settings.runtime(strategy)
    found: set[Any] = set()
    while strategy.left:
        if runtime.executions >= most:
            return None
        try:
            execution = runtime.run(machine.program)
        except Pruned:
            continue
        assert not execution.looks_cut
        failure: Failure | None = execution.failure
        if failure is not None:
            found.add(str(failure.kind))
        else:
            place = machine.place
            found.add((place._a, place._b, *map(tuple, machine.logs)))
    return found


# -- by a search ------------------------------------------------------------------------------------------------------

State = tuple[Any, ...]
"""The fields, who holds the lock (-1: nobody), and for each task where it is, its round, what it has read, its log."""


def _steps(tasks: Program, state: State) -> Iterator[State]:
    for number in range(len(tasks)):
        yield from _step(tasks, state, number)


def _step(tasks: Program, state: State, me: int) -> Iterator[State]:
    """The states after one step of task `me`: one, or none if it cannot go on."""
    fields, holder, them = state
    at, turn, half, log = them[me]
    if at == len(tasks[me]):
        return
    what, *rest = tasks[me][at]
    memory = dict(zip(FIELDS, fields, strict=True))

    def after(*now: Any, owner: int = holder) -> State:
        return (tuple(memory.values()), owner, (*them[:me], now, *them[me + 1 :]))

    if what == "set":
        memory[rest[0]] = rest[1]
        yield after(at + 1, 0, 0, log)
    elif what == "get":
        yield after(at + 1, 0, 0, (*log, memory[rest[0]]))
    elif what == "lock":
        if holder < 0:
            yield after(at + 1, 0, 0, log, owner=me)
    elif what == "unlock":
        yield after(at + 1, 0, 0, log, owner=-1)
    else:
        most = None if what == "while" else rest[0]
        look = rest[-1]
        kind = look[0]
        seen: bool | None
        owner = holder
        if kind == "is":
            seen = memory[look[1]] == look[2]
        elif kind == "xchg":
            seen = memory[look[1]] == look[3]
            memory[look[1]] = look[2]
        elif kind == "cas":
            seen = memory[look[1]] == look[2]
            if seen:
                memory[look[1]] = look[3]
        elif kind == "try":
            seen = holder < 0
            owner = me if seen else holder
        elif kind == "both":
            seen = False if not half and not memory["a"] else (None if not half else bool(memory["b"]))
        elif kind == "again":
            seen = bool(memory["a"]) if half else None
            if not half:
                memory["b"] = look[1]
        elif not half:
            if holder >= 0:
                return
            seen, owner = None, me
        elif half == 1:
            yield after(at, turn, 3 if memory["a"] else 2, log)
            return
        else:
            seen, owner = half == 3, -1
        if seen is None:
            yield after(at, turn, 1, log, owner=owner)
        elif most is None:
            yield after(at + seen, 0, 0, log, owner=owner)
        elif seen or turn + 1 == most:
            yield after(at + 1, 0, 0, (*log, seen), owner=owner)
        else:
            yield after(at, turn + 1, 0, log, owner=owner)


def searched(tasks: Program, most: int = 30_000) -> set[Any] | None:
    """What can come of a program, by going through all states; None if there are more than `most`.

    A state from which no end can be reached is a livelock if a task spins there, else a deadlock.
    """
    start: State = ((0,) * len(FIELDS), -1, ((0, 0, 0, ()),) * len(tasks))
    ways: dict[State, list[State]] = {}
    left = [start]
    while left:
        state = left.pop()
        if state in ways:
            continue
        if len(ways) > most:
            return None
        ways[state] = [*_steps(tasks, state)]
        left += ways[state]
    back: dict[State, list[State]] = {}
    for state, following in ways.items():
        for one in following:
            back.setdefault(one, []).append(state)
    ends = [state for state, following in ways.items() if _is_over(tasks, state) and not following]
    good: set[State] = set()
    left = list(ends)
    while left:
        state = left.pop()
        if state not in good:
            good.add(state)
            left += back.get(state, [])
    found: set[Any] = {(*state[0], *(one[3] for one in state[2])) for state in ends}
    for state in ways:
        if state not in good:
            # Where no way leads on but into itself and its like, somebody spins; else all wait.
            found.add("livelock" if _spins_for_ever(ways, state) else "deadlock")
    return found


def _is_over(tasks: Program, state: State) -> bool:
    return all(one[0] == len(body) for one, body in zip(state[2], tasks, strict=True))


def _spins_for_ever(ways: dict[State, list[State]], state: State) -> bool:
    seen: set[State] = set()
    left = [state]
    while left:
        one = left.pop()
        if one not in seen:
            seen.add(one)
            left += ways[one]
    return all(ways[one] for one in seen)


# -- at random --------------------------------------------------------------------------------------------------------


def random_program(random: Random) -> Program:
    """Two or three tasks, of which at least one loops."""
    tasks: Program = []
    for _ in range(random.choice([2, 2, 2, 3])):
        body: list[Statement] = []
        for _ in range(random.choice([1, 1, 2])):
            kind = random.random()
            if kind < 0.45:
                body.append(_loop(random))
            elif kind < 0.8:
                body.append(("set", random.choice(FIELDS), random.randint(0, 2)))
            elif kind < 0.9:
                body.append(("get", random.choice(FIELDS)))
            else:
                body += [("lock",), ("set", random.choice(FIELDS), 1), ("unlock",)]
        tasks.append(body)
    tasks[0].append(_loop(random))
    return tasks


def _loop(random: Random) -> Statement:
    field = random.choice(FIELDS)
    looks: list[Statement] = [
        ("is", field, random.randint(1, 2)),
        ("xchg", field, 1, random.choice([0, 2])),
        ("cas", field, random.randint(0, 2), random.randint(0, 2)),
        ("both",),
        ("again", random.randint(0, 1)),
        ("held",),
    ]
    look = random.choice(looks)
    kind = random.choice(["while", "for", "count"])
    return (kind, look) if kind == "while" else (kind, random.randint(1, 3), look)
