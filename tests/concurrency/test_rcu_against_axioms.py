"""Random small programs of readers, grace periods and whatever else orders: a race is found exactly if there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from random import Random
from typing import Any

from rcu_axioms import Instruction

from concurrency import (
    READ_ONCE,
    Completion,
    Kind,
    Once,
    Plain,
    Settings,
    Shared,
    Spinlock,
    Timer,
    Verdict,
    call_rcu,
    del_timer,
    explore,
    join,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    mod_timer,
    poll_state_synchronize_rcu,
    preempt_disable,
    preempt_enable,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_store_release,
    spawn,
    start_poll_synchronize_rcu,
    synchronize_rcu,
)

BARE = frozenset({"lockdep", "leak", "circle"})
SECTIONS: dict[str, tuple[Any, Any]] = {
    "rcu": (rcu_read_lock, rcu_read_unlock),
    "preempt": (preempt_disable, preempt_enable),
    "irq": (local_irq_disable, local_irq_enable),
    "bh": (local_bh_disable, local_bh_enable),
}


class Cell(Shared):
    d: Plain[int] = 0
    e: Plain[int] = 0
    f: Once[int] = 0
    g: Once[int] = 0


class Stop(Exception):
    """A guard does not hold."""


class Section:
    """A reader of one kind."""

    def __init__(self, begin: Any, end: Any) -> None:
        self.begin, self.end = begin, end

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()


class Machine:
    def __init__(self, tasks: list[list[Instruction]]) -> None:
        self.tasks = tasks

    def program(self) -> None:
        self.cell, self.common, self.completion = Cell(), Spinlock("common"), Completion("c")
        self.timer, self.armed = Timer(lambda _: None), 0
        join(*[spawn(self.task, body) for body in self.tasks])

    def task(self, body: list[Instruction]) -> None:
        try:
            self.run(body, [])
        except Stop:
            pass

    def section(self, kind: str) -> AbstractContextManager[Any]:
        return Spinlock("own") if kind == "own" else Section(*SECTIONS[kind])

    def run(self, body: list[Instruction], cookies: list[int]) -> None:
        cell = self.cell
        for what, *rest in body:
            holds = True
            if what == "R":
                getattr(cell, rest[0])
            elif what == "W":
                setattr(cell, rest[0], 1)
            elif what == "put":
                if rest[2] == "release":
                    smp_store_release(cell, rest[0], rest[1])
                else:
                    setattr(cell, rest[0], rest[1])
            elif what == "if":
                read = smp_load_acquire if rest[2] == "acquire" else READ_ONCE
                holds = read(cell, rest[0]) == rest[1]
            elif what == "in":
                with self.section(rest[0]):
                    self.run(rest[1], cookies)
            elif what == "lock":
                with self.common:
                    self.run(rest[0], cookies)
            elif what == "sync":
                synchronize_rcu()
            elif what == "call":
                call_rcu(self.task, rest[0])
            elif what == "start":
                cookies.append(start_poll_synchronize_rcu())
            elif what == "poll":
                holds = poll_state_synchronize_rcu(cookies[-1])
            elif what == "complete":
                self.completion.complete()
            elif what == "try":
                holds = self.completion.try_wait()
            elif what == "arm":
                # Another time each time: for one and the same mod_timer() takes no lock.
                self.armed += 1
                mod_timer(self.timer, self.armed)
            else:
                assert what == "del"
                holds = del_timer(self.timer)
            if not holds:
                raise Stop


def random_program(random: Random, tasks: int = 2) -> list[list[Instruction]]:
    """Tasks that tell each other by flags how far they are, and have something to race for."""
    while True:
        made = Maker(random, tasks).tasks
        text = str(made)
        # What nobody writes, or only one task touches, cannot race; more callbacks only take longer.
        if any(f"('W', '{d}')" in text and sum(f"'{d}')" in str(body) for body in made) > 1 for d in "de"):
            if text.count("'call'") <= 2 and text.count("'if'") <= 4:
                return made


class Maker:
    """Makes one random program."""

    def __init__(self, random: Random, tasks: int) -> None:
        self.random = random
        self.value = {"f": 0, "g": 0}
        self.liked = random.sample(["sync", "call", "start", "sync", "call", "complete", "arm", "lock"], 2)
        self.started: set[int] = set()
        self.tasks = [self.body(random.choice([2, 3, 4]), False, number) for number in range(tasks)]

    def plain(self) -> Instruction:
        return (self.random.choice("RWW"), self.random.choice("ddde"))

    def put(self) -> Instruction:
        flag = self.random.choice("fg")
        self.value[flag] += 1
        return ("put", flag, self.value[flag], self.random.choice(["once", "once", "once", "release"]))

    def guard(self) -> Instruction:
        flag = self.random.choice("fg")
        return ("if", flag, self.random.choice([1, 1, 1, 2]), self.random.choice(["once"] * 3 + ["acquire"]))

    def body(self, size: int, inside: bool, number: int) -> list[Instruction]:
        some = []
        for _ in range(size):
            what = self.random.choice(
                ["plain", "plain", "put", "guard", "guard", "section", "section"] + self.liked * 2
            )
            made = self.instruction(what, inside, number)
            if made is not None:
                some.append(made)
        return some

    def instruction(self, what: str, inside: bool, number: int) -> Instruction | None:
        random = self.random
        if what in ("plain", "put", "guard"):
            return getattr(self, what)()  # type: ignore[no-any-return]
        if what == "section":
            kind = random.choice(
                ["rcu", "preempt", "own"] if inside else ["rcu", "rcu", "preempt", "irq", "bh", "own"]
            )
            return ("in", kind, self.body(random.choice([1, 2, 2]), True, number))
        if what == "lock":
            return None if inside else ("lock", self.body(random.choice([1, 2]), True, number))
        if what == "sync":
            return None if inside else ("sync",)
        if what == "call":
            parts = [
                random.choice([self.plain, self.plain, self.put, self.guard])
                for _ in range(random.choice([1, 1, 2]))
            ]
            return ("call", [part() for part in parts])
        if what == "start":
            if number in self.started and random.random() < 0.7:
                return ("poll",)
            self.started.add(number)
            return ("start",)
        if what == "complete":
            return (random.choice(["complete", "try"]),)
        return (random.choice(["arm", "del"]),)


def found_race(tasks: list[list[Instruction]], strategy: str = "dpor", limit: int = 1_000) -> bool | None:
    """None if it would take too many executions to say."""
    result = explore(
        Machine(tasks).program, strategy=strategy, executions=limit, settings=Settings(without=BARE)
    )
    if result.failures:
        assert result.failures[0].failure.kind is Kind.DATA_RACE, result.failures[0].failure.headline
        return True
    return False if result.verdict is Verdict.PASSED else None
