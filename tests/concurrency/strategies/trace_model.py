"""Random programs as data, their traces counted on a model of their own, and the same programs for the engine.

The model knows nothing of the engine: it goes through the *prefixes of traces*. A prefix is what has been done to each
variable and lock, in order, where neighbouring reads stand together, because they commute. Two orders of the same
operations that differ only by exchanging independent neighbours are one prefix, so each is visited once, and the
prefixes that cannot be continued are the traces. That is fast (it never makes all schedules), and it is by definition.

A statement is a tuple: ``("r", var, register)``, ``("w", var, value)``, ``("cas", var, old, new, register)``,
``("lock", m)``, ``("unlock", m)``, ``("try", m, register)``, ``("if", register, value, then, otherwise)``; a value
written is a number or ``("reg", register, plus)``.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from sugarbush.concurrency import Atomic, Mutex, Shared, Unshared, spawn
from sugarbush.concurrency.memory.field import KEEP, Order
from sugarbush.concurrency.memory.shared import modify

Body = tuple[Any, ...]
Program = tuple[int, tuple[Body, ...]]
"""How many variables there are, and the tasks."""
LOCKS = 2


def random_program(random: Random, *, locks: bool, largest: int = 10) -> Program:
    """Two to four tasks that read several places, branch on what they read, and write afterwards."""
    tasks = random.choice([2, 3, 3, 3, 4])
    variables = random.choice([2, 3, 3, 4])
    total = random.randint(5, largest if tasks < 4 else largest - 1)

    def block(task: int, length: int, depth: int, held: bool) -> list[Any]:
        out: list[Any] = []
        made = 0
        while made < length:
            made += 1
            kind = random.random()
            register = f"r{task}{random.randrange(3)}"
            variable = random.randrange(variables)
            if locks and kind < 0.25 and not held:
                made += 1
                lock = random.randrange(LOCKS)
                inner = [*block(task, random.randint(0, 2), 2, True), ("unlock", lock)]
                if random.random() < 0.3:
                    otherwise = block(task, random.randint(0, 1), 2, held)
                    out += [("try", lock, register), ("if", register, 1, inner, otherwise)]
                else:
                    out += [("lock", lock), *inner]
            elif kind < 0.5:
                out.append(("r", variable, register))
            elif kind < 0.75:
                value: Any = random.randint(1, 2) if random.random() < 0.6 else ("reg", register, 1)
                out.append(("w", variable, value))
            elif kind < 0.82:
                out.append(("cas", variable, random.randint(0, 1), random.randint(1, 2), register))
            elif depth < 2:
                if random.random() < 0.7:
                    out.append(("r", variable, register))
                then = block(task, random.randint(0, 2), depth + 1, held)
                otherwise = block(task, random.randint(0, 2), depth + 1, held)
                out.append(("if", register, random.randint(0, 1), then, otherwise))
        return out

    def frozen(one: Any) -> Any:
        return tuple(frozen(each) for each in one) if isinstance(one, list | tuple) else one

    return variables, tuple(
        frozen(block(task, max(1, total // tasks + random.randint(-1, 1)), 0, False)) for task in range(tasks)
    )


def _up_to_next(body: Body, registers: dict[str, int]) -> Body:
    """What is left of a task that has decided all branches before its next operation."""
    while body and body[0][0] == "if":
        _, register, value, then, otherwise = body[0]
        body = (then if registers.get(register, 0) == value else otherwise) + body[1:]
    return body


def counted(program: Program, limit: int) -> tuple[int, set[Any]] | None:
    """How many traces the program has, and its outcomes; None if there are more than `limit` prefixes."""
    variables, tasks = program
    started = tuple((_up_to_next(body, {}), (), 0) for body in tasks)
    first = started, (0,) * variables, (False,) * LOCKS, ((),) * (variables + LOCKS)
    seen = {first}
    left: list[Any] = [first]
    traces = 0
    outcomes: set[Any] = set()
    while left:
        now, memory, held, done = left.pop()
        goes_on = False
        for task, (body, known, count) in enumerate(now):
            if not body or (body[0][0] == "lock" and held[body[0][1]]):
                continue
            goes_on = True
            what, where, *rest = body[0]
            registers, values, taken = dict(known), list(memory), list(held)
            place = where + variables if what in ("lock", "unlock", "try") else where
            if what == "r":
                registers[rest[0]] = values[where]
            elif what == "w":
                value = rest[0]
                values[where] = value if isinstance(value, int) else registers.get(value[1], 0) + value[2]
            elif what == "cas":
                registers[rest[2]] = int(values[where] == rest[0])
                values[where] = rest[1] if values[where] == rest[0] else values[where]
            elif what == "try":
                registers[rest[0]] = int(not taken[where])
                taken[where] = True
            else:
                taken[where] = what == "lock"
            past, event = done[place], (task, count)
            if what != "r":
                past = (*past, event)
            elif past and isinstance(past[-1], frozenset):
                past = (*past[:-1], past[-1] | {event})
            else:
                past = (*past, frozenset([event]))
            following = (
                *now[:task],
                (_up_to_next(body[1:], registers), tuple(sorted(registers.items())), count + 1),
                *now[task + 1 :],
            )
            state = following, tuple(values), tuple(taken), (*done[:place], past, *done[place + 1 :])
            if state not in seen:
                seen.add(state)
                left.append(state)
                if len(seen) > limit:
                    return None
        if not goes_on:
            traces += 1
            registers = {name: value for _, known, _ in now for name, value in known}
            kind = "deadlock" if any(body for body, _, _ in now) else ""
            outcomes.add((kind, tuple(sorted(registers.items())), memory))
    return traces, outcomes


class Variable(Shared):
    """One variable; `number` says which."""

    value: Atomic[int] = 0
    number: Unshared[int] = 0


class Machine:
    """Runs a program on the engine; `outcome` is what the last execution left behind."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.program: Callable[[], None] = self._start
        self.variables: list[Variable] = []
        self.registers: dict[str, int] = {}

    def outcome(self, kind: str) -> Any:
        """As `counted` has it."""
        return kind, tuple(sorted(self.registers.items())), tuple(one._value for one in self.variables)

    def _start(self) -> None:
        count, tasks = self._program
        self.variables = [Variable() for _ in range(count)]
        for number, variable in enumerate(self.variables):
            variable.number = number
        self.locks = [Mutex(f"m{number}") for number in range(LOCKS)]
        self.registers = {}
        for body in tasks:
            spawn(self._run, body)

    def _run(self, body: Body) -> None:
        known = self.registers
        for what, *rest in body:
            if what == "if":
                register, value, then, otherwise = rest
                self._run(then if known.get(register, 0) == value else otherwise)
            elif what in ("lock", "unlock"):
                getattr(self.locks[rest[0]], what)()
            elif what == "try":
                known[rest[1]] = int(self.locks[rest[0]].trylock())
            else:
                self._access(what, self.variables[rest[0]], *rest[1:])

    def _access(self, what: str, variable: Variable, *rest: Any) -> None:
        known = self.registers
        if what == "r":
            known[rest[0]] = variable.value
        elif what == "w":
            value = rest[0]
            variable.value = value if isinstance(value, int) else known.get(value[1], 0) + value[2]
        else:
            old, new, register = rest
            swap = lambda now: (new, 1) if now == old else (KEEP, 0)  # noqa: E731
            known[register] = modify(variable, "value", swap, Order.FULL)
