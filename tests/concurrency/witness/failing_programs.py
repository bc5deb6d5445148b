"""Random small programs that fail in some of their schedules, and what is true of each order, by enumeration.

Nothing here is the explainer's: an execution is what its observer hears, and a claim is looked up among all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from random import Random
from typing import Any

from concurrency_programs import EverySchedule
from small_programs import Instruction, Machine

from sugarbush.concurrency import (
    KmemCache,
    Plain,
    Settings,
    Shared,
    Unshared,
    Witness,
    check,
    explore,
    join,
    minimise,
    schedule,
)
from sugarbush.concurrency.lowlevel import Observer, Simulated
from sugarbush.concurrency.strategies.replay import Replay
from sugarbush.concurrency.witness.explaining import StoryMoment, explain
from sugarbush.concurrency.witness.explanation import Claim, Explanation, Pair

GFP_ATOMIC = 0x20
QUIET = Settings(without=frozenset({"lockdep", "data-race", "leak"}))


class Box(Shared):
    """What is freed too soon: a shared field and an ordinary attribute."""

    items: Plain[int] = 0
    tag: Unshared[int]

    def __init__(self) -> None:
        super().__init__()
        self.tag = 0


class Failing(Machine):
    """A `Machine` whose tasks also loop, free, touch, and look whether all is well at the end."""

    def __init__(self, tasks: list[list[Instruction]], total: int | None) -> None:
        super().__init__(tasks)
        self.total = total

    def program(self) -> None:
        self.cache = KmemCache("box", Box)
        self.box: Any = self.cache.alloc(GFP_ATOMIC)
        super().program()
        if self.total is not None:
            join(*self.children)
            check(self.pairs[0]._a == self.total, "every addition counts")

    def do_loop(self, log: list[Any], path: str, times: int, body: list[Instruction]) -> None:
        for turn in range(times):
            self._inner(log, f"{path}.{turn}", body)

    def do_free(self, _log: list[Any], _path: str) -> None:
        self.cache.free(self.box)

    def do_touch(self, log: list[Any], _path: str) -> None:
        log.append(self.box.items)

    def do_tag(self, log: list[Any], _path: str) -> None:
        log.append(self.box.tag)

    def do_needs(self, _log: list[Any], path: str, pair: int, field: str, value: int) -> None:
        check(getattr(self.pairs[pair], field) == value, f"{path}: {field} is {value}")

    def do_sleep(self, _log: list[Any], _path: str) -> None:
        """Looks, then goes to sleep, in two steps: a wake-up between them is lost."""
        if self.pairs[0].a == 0:
            self.queue.prepare_to_wait()
            schedule()
            self.queue.finish_wait()

    def do_down(self, _log: list[Any], _path: str) -> None:
        self.room.down()

    def do_up(self, _log: list[Any], _path: str) -> None:
        self.room.up()


def failing_program(random: Random) -> tuple[list[list[Instruction]], int | None]:
    """Two or three tasks, built around one kind of bug, with a little of this and that beside it."""
    kind = random.choice(
        ("update", "update", "deadlock", "deadlock", "free", "free", "wake", "signal", "check", "any")
    )
    total = None
    noise: list[Instruction] = [
        ("get", 0, "a"), ("set", 1, "a", 1), ("add", 1, "b"), ("get", 1, "b"), ("lock", 1, [("get", 1, "a")]),
    ]  # fmt: skip

    def some(most: int) -> list[Instruction]:
        return [random.choice(noise) for _ in range(random.randint(0, most))]

    tasks: list[list[Instruction]]
    if kind == "update":
        rounds = random.choice((1, 1, 2))
        add: Instruction = ("loop", rounds, [("add", 0, "a")])
        others = random.choice((2, 2, 2, 3)) if rounds == 1 else 2
        locked = [random.random() < 0.3 for _ in range(others)]
        tasks = [[("lock", 0, [add])] if safe else [add] for safe in locked]
        total = rounds * others
    elif kind == "deadlock":
        rounds = random.choice((1, 2, 2))
        tasks = [
            [("loop", rounds if n == 0 else random.choice((1, rounds)), [("lock", n, [("lock", 1 - n, [])])])]
            for n in range(2)
        ]
        if random.random() < 0.3:
            tasks.append([random.choice([("get", 0, "a"), ("lock", 0, []), ("lock", 1, [])])])
    elif kind == "free":
        use = random.choice((("touch",), ("tag",)))
        tasks = [[*some(1), use, *([use] if random.random() < 0.3 else [])], [*some(1), ("free",)]]
        if random.random() < 0.3:
            tasks = [[("lock", 0, task)] for task in tasks]
    elif kind == "wake":
        tasks = [[*some(1), ("sleep",)], [("set", 0, "a", 1), ("wake", random.random() < 0.5), *some(1)]]
        if random.random() < 0.3:
            tasks.append([("sleep",)])
    elif kind == "signal":
        up: list[Instruction] = [("complete",), ("set", 0, "b", 1)]
        random.shuffle(up)
        tasks = [[("await",), ("needs", 0, "b", 1)], [*some(1), *up]]
        if random.random() < 0.4:
            tasks.append(random.choice([[("await",)], [("complete",)]]))
    elif kind == "check":
        tasks = [
            [*some(1), ("set", 0, "a", random.randint(1, 2))],
            [("needs", 0, "a", random.choice((0, 1))), *some(1)],
            [("set", 0, "a", random.randint(0, 2))],
        ][: random.choice((2, 3))]
    else:
        tasks = [
            [("down",), ("set", 0, "a", 1), *([("up",)] if random.random() < 0.6 else [])],
            [("room", [("needs", 0, "a", random.choice((0, 1)))])],
        ]
    random.shuffle(tasks)
    return tasks, total


@dataclass(frozen=True)
class Ran:
    """One execution: what took effect, in order (task, number, operation), and the kind of its failure."""

    events: tuple[tuple[int, int, str], ...]
    failed: str | None


class _Heard(Observer):
    def begin(self, runtime: Any) -> None:
        self.events: list[tuple[int, int, str]] = []
        self.count: dict[int, int] = {}
        self.numbers: dict[str, int] = {}

    def spawned(self, parent: Any, task: Any) -> None:
        self.numbers[task.name] = task.id

    def announced(self, task: Any, op: Any, obj: object) -> None:
        self.count[task.id] = self.count.get(task.id, -1) + 1

    def accessed(self, task: Any, op: Any, obj: object) -> None:
        self.events.append((task.id, self.count[task.id], op.name))

    def performed(self, task: Any, op: Any, obj: Any, arg: Any, result: Any) -> None:
        self.accessed(task, op, obj)


class _Width(EverySchedule):
    """Knows roughly how many schedules there are, from the first of them."""

    width = 0

    def end(self, steps: int, forced: int) -> None:
        self.width = self.width or prod(n for _, n in self._trail)
        super().end(steps, forced)


def everything(program: Callable[[], Any], limit: int, settings: Settings = QUIET) -> list[Ran] | None:
    """All executions; None if there are more than `limit`, or look as if there were many more."""
    strategy, heard = _Width(), _Heard()
    runtime: Simulated = settings.runtime(strategy, recorder=heard)
    found: list[Ran] = []
    while strategy.left:
        if len(found) == limit or strategy.width > limit * 10:
            return None
        failure = runtime.run(program).failure
        found.append(Ran(tuple(heard.events), None if failure is None else failure.kind.value))
    return found


class Truth:
    """All executions of a program, and the witness among them that is explained."""

    def __init__(self, program: Callable[[], Any], everything: list[Ran], witness: Witness) -> None:
        heard = _Heard()
        QUIET.runtime(Replay(witness.schedule), recorder=heard).run(program)
        self.all = everything
        self.events = tuple(heard.events)
        self.kind = witness.failure.kind.value
        self.numbers = heard.numbers

    def turned(self, pair: Pair) -> list[Ran]:
        """The executions that begin as the witness did before what came first, and in which that comes last."""
        firsts = {(self.numbers[one.task], one.number) for one in (pair.first, *pair.also_first)}
        seconds = (pair.second, *pair.also_second)
        upto = next(at for at, (task, number, _) in enumerate(self.events) if (task, number) in firsts)
        start = self.events[:upto]
        found = []
        for one in self.all:
            if one.events[:upto] == start:
                rest = one.events[upto:]
                end = len(rest)
                at = max(
                    next((n for n, event in enumerate(rest) if self._is(event, it)), end) for it in seconds
                )
                if at < next((n for n, event in enumerate(rest) if event[:2] in firsts), end):
                    found.append(one)
        return found

    def _is(self, event: tuple[int, int, str], moment: StoryMoment) -> bool:
        task, number, what = event
        if task != self.numbers[moment.task]:
            return False
        if moment.what == "end":
            return what == "end"
        if moment.what in ("touch", "going on"):
            return number == moment.number
        return number == moment.number and what == moment.what

    def judge(self, why: Explanation) -> str | None:
        """What is untrue of an explanation; None if all of it is true."""
        for pair in why.pairs:
            ways = self.turned(pair)
            again = sum(one.failed == self.kind for one in ways)
            failed = sum(one.failed is not None for one in ways)
            if not ways:
                return f"in no execution is it so: {pair}"
            if pair.claim is Claim.WOULD_NOT and pair.complete and failed:
                return f"{failed} of {len(ways)} fail: {pair}"
            if pair.claim is Claim.OTHERWISE and (again if pair.complete else failed < pair.otherwise):
                return f"{again} of {len(ways)} fail so again: {pair}"
            if pair.claim is Claim.NEED_NOT and (failed == len(ways) or not again):
                return f"{failed} of {len(ways)} fail: {pair}"
            if pair.complete and not pair.tried <= len(ways) + pair.again + pair.otherwise:
                return f"there are only {len(ways)}: {pair}"
        passed = sum(one.failed is None for one in self.all)
        if "no order matters" in why.text and passed:
            return f"{passed} of {len(self.all)} schedules do not fail: {why.text}"
        if "do not fail" in why.text and not passed:
            return f"all schedules fail: {why.text}"
        for one in why.fixed:
            if one.proven and self._possible(one.first, one.second):
                return f"it can be turned round: {one}"
        return None

    def _possible(self, first: StoryMoment, second: StoryMoment) -> bool:
        return bool(self.turned(Pair(first, second, Claim.NEED_NOT, 0, 0, 0, True)))


def judged(seed: int, limit: int) -> tuple[Explanation, str | None] | None:
    """The explanation of program `seed`, minimised if that is odd, and what is untrue of it; None: nothing fails."""
    tasks, total = failing_program(Random(seed))
    return judged_program(Failing(tasks, total).program, seed, limit)


def judged_program(
    program: Callable[[], Any], seed: int, limit: int
) -> tuple[Explanation, str | None] | None:
    """As `judged`, of any program whose tasks have different names."""
    found = everything(program, limit)
    if found is None or all(one.failed is None for one in found):
        return None
    result = explore(program, strategy="random", executions=1000, seed=seed, settings=QUIET)
    if not result.failures:
        return None
    witness = minimise(program, result.failures[0], QUIET) if seed % 2 else result.failures[0]
    why = explain(program, witness, QUIET)
    return why, Truth(program, found, witness).judge(why)
