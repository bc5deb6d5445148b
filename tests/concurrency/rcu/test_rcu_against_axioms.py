"""Random small programs of readers, grace periods and whatever else orders: a race is found exactly if there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from random import Random
from typing import Any

import pytest
from rcu_axioms import Instruction, has_race

from sugarbush.concurrency import (
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
from sugarbush.concurrency.lowlevel import RaceDetector
from sugarbush.concurrency.rcu.order import GraceOrder

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
    h: Once[int] = 0
    k: Once[int] = 0


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
        how = random.random()
        made = (
            variation(random)
            if how < 0.5
            else story(random, tasks)
            if how < 0.75
            else Maker(random, tasks).tasks
        )
        text = str(made)
        races = any(
            f"('W', '{d}')" in text and sum(f"'{d}')" in str(body) for body in made) > 1 for d in "de"
        )
        # What nobody writes, or only one task touches, cannot race; more callbacks and guards only take longer.
        if races and text.count("'call'") <= 2 and text.count("'if'") <= 4:
            return made


P, Q = ("W", "d"), ("R", "d")
SKELETONS: list[list[list[Instruction]]] = [
    # A reader begins during a grace period, and may end before it is over.
    [[P, ("start",), ("put", "f", 1, "once"), ("poll",)], [("if", "f", 1, "once"), ("in", "rcu", [Q])]],
    [[P, ("call", []), ("put", "f", 1, "once")], [("if", "f", 1, "once"), ("in", "rcu", [Q])]],
    # It lies inside: neither is ordered.
    [
        [P, ("start",), ("put", "f", 1, "once"), ("if", "g", 1, "once"), ("poll",), P],
        [("if", "f", 1, "once"), ("in", "rcu", [Q]), ("put", "g", 1, "once")],
    ],
    # It outlasts the grace period, and has known all along.
    [
        [P, ("start",), ("put", "f", 1, "once"), ("poll",), ("put", "h", 1, "once")],
        [("if", "f", 1, "once"), ("in", "rcu", [("if", "h", 1, "once"), Q])],
    ],
    [[P, ("sync",), ("put", "h", 1, "once")], [("in", "rcu", [("if", "h", 1, "once"), Q])]],
    # So has whoever learned of it.
    [
        [P, ("start",), ("put", "f", 1, "once"), ("poll",), ("put", "h", 1, "once")],
        [
            ("if", "f", 1, "once"),
            ("in", "rcu", [("put", "g", 1, "release"), ("if", "h", 1, "once"), ("put", "k", 1, "once")]),
        ],
        [("if", "g", 1, "acquire"), ("if", "k", 1, "once"), Q],
    ],
    # It began before, and is waited for.
    [[("if", "f", 1, "once"), ("sync",), P], [("in", "rcu", [("put", "f", 1, "once"), Q])]],
    [[("if", "f", 1, "once"), ("call", [P])], [("in", "rcu", [("put", "f", 1, "once"), Q])]],
    # A callback knows what its own task did, and no other one.
    [
        [("call", [("if", "f", 1, "once"), Q])],
        [P, ("call", []), ("put", "f", 1, "once")],
    ],
]
"""Where one order or another is what decides; variations of them decide nearby."""


def variation(random: Random) -> list[list[Instruction]]:
    """A skeleton with other readers, other accesses, and perhaps without one of its orders."""

    def vary(body: list[Instruction], inside: bool = False) -> list[Instruction]:
        made: list[Instruction] = []
        for what, *rest in body:
            if what in "RW":
                made.append((random.choice([what, what, "R", "W"]), *rest))
            elif what in ("if", "put"):
                if random.random() < 0.93:
                    strong = "acquire" if what == "if" else "release"
                    made.append((what, *rest[:2], strong if random.random() < 0.08 else rest[2]))
            elif what == "in":
                inner = vary(rest[1], True)
                if random.random() < 0.3:
                    at = random.randrange(len(inner) + 1)
                    inner = [*inner[:at], ("in", random.choice(["rcu", "preempt", "own"]), inner[at:])]
                made.append(("in", random.choice(["rcu", "preempt", "irq", "bh", "own"]), inner))
            elif what == "call":
                made.append(("call", vary(rest[0], True)))
            else:
                made.append((what, *rest))
        if not inside and random.random() < 0.1:
            made.insert(random.randrange(len(made) + 1), ("in", "preempt", []))
        return made

    return [vary(body) for body in random.choice(SKELETONS)]


def story(random: Random, tasks: int) -> list[list[Instruction]]:
    """What happens one after another, and most often has to: who goes on has seen a flag of who went before."""
    made: list[list[Instruction]] = [[] for _ in range(tasks)]
    bodies = [[body] for body in made]
    started: set[int] = set()
    flags = list("fghk")
    now = random.randrange(tasks)
    for _ in range(random.choice([3, 4, 5])):
        body = bodies[now][-1]
        for _ in range(random.choice([1, 1, 2])):
            what = random.choice(
                ["plain", "plain", "start", "start", "in", "in", "in", "out", "sync", "call"]
            )
            if what == "plain":
                body.append((random.choice("RW"), "d"))
            elif what == "in" and len(bodies[now]) < 3:
                inner: list[Instruction] = []
                body.append(("in", random.choice(["rcu", "rcu", "preempt", "own"]), inner))
                bodies[now].append(inner)
            elif what == "out" and len(bodies[now]) > 1:
                bodies[now].pop()
            elif what == "sync" and len(bodies[now]) == 1:
                body.append(("sync",))
            elif what == "start":
                body.append(("poll",) if now in started else ("start",))
                started.add(now)
            elif what == "call":
                after = [("if", "fghk"[3 - len(flags)], 1, "once")] if len(flags) < 4 else []
                body.append(("call", [*random.choice([[], after]), (random.choice("RW"), "d")]))
            body = bodies[now][-1]
        after_it = (now + random.randrange(1, tasks)) % tasks
        if flags and random.random() < 0.8:
            flag = flags.pop(0)
            body.append(("put", flag, 1, random.choice(["once"] * 5 + ["release"])))
            bodies[after_it][-1].append(("if", flag, 1, random.choice(["once"] * 5 + ["acquire"])))
        now = after_it
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


def agree(seeds: range, tasks: int = 2, strategy: str = "dpor", limit: int = 1_000) -> list[bool]:
    """Whether each program has a race, for those that could be searched to the end; all of them agree."""
    said = []
    for seed in seeds:
        program = random_program(Random(seed), tasks)
        found = found_race(program, strategy, limit)
        if found is not None:
            assert found is has_race(program), (seed, program)
            said.append(found)
    return said


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_a_race_is_found_exactly_if_there_is_one(first: int) -> None:
    said = agree(range(first, first + 50))
    assert len(said) >= 45
    assert said.count(True) >= 10
    assert said.count(False) >= 10


@pytest.mark.parametrize("first", [0, 20])
def test_the_full_search_says_the_same(first: int) -> None:
    assert len(agree(range(first, first + 20), strategy="dfs", limit=400)) >= 10


@pytest.mark.exhaustive
@pytest.mark.parametrize("tasks", [2, 3])
@pytest.mark.parametrize("first", range(1_000, 6_000, 500))
def test_a_race_is_found_exactly_if_there_is_one_of_thousands(first: int, tasks: int) -> None:
    assert len(agree(range(first, first + 500), tasks)) >= 450


def _knows_all(order: Any, flavour: Any, key: Any, task: Any, begins: Any = GraceOrder._begins) -> None:
    begins(order, flavour, key, task)
    for grace in flavour.graces.values():
        order._keeper.learns(task, grace.updates)


def _waited_for(order: Any, flavour: Any, key: Any, task: Any, ends: Any = GraceOrder._ends) -> None:
    flavour.open[key].since = -1
    ends(order, flavour, key, task)


def _begins_again(order: Any, task: Any, look: Any = GraceOrder.look) -> None:
    look(order, task)
    if task in order.plain.open:
        order._ends(order.plain, task, task)
        order._begins(order.plain, task, task)


def _only_itself(races: Any, reader: Any, told: Any) -> None:
    races.learns(reader.task, told)


def _never_mind(races: Any) -> None:
    races._suspects = []


FAULTS = {
    "a reader knows what came before every grace period that has begun": (GraceOrder, "_begins", _knows_all),
    "every grace period waits for every reader": (GraceOrder, "_ends", _waited_for),
    "a stretch inside a reader is a new reader": (GraceOrder, "look", _begins_again),
    "a reader that outlasts a grace period learns nothing": (RaceDetector, "outlasted", lambda *_: None),
    "who learned of it in the meantime learns nothing": (RaceDetector, "outlasted", _only_itself),
    "what is in doubt is forgotten": (RaceDetector, "_judge", _never_mind),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_sees_each_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, wrong = FAULTS[fault]
    monkeypatch.setattr(owner, name, wrong)
    programs = [random_program(Random(seed)) for seed in (0, 2, 9, 16, 35)]
    assert any(found_race(program) is not has_race(program) for program in programs)
