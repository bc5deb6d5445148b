"""The race detector against a brute-force happens-before on random small programs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from concurrency_programs import Cell
from hypothesis import given, settings
from hypothesis import strategies as st

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Kind,
    Mutex,
    RwSemaphore,
    Task,
    atomic_add_return,
    join,
    smp_load_acquire,
    smp_store_release,
    spawn,
)
from sugarbush.concurrency.lowlevel import Access, Observer, Operation, RaceDetector, RandomWalk, Simulated


class Log(Observer):
    """All operations in their order: (step, task, name, object, field, result)."""

    def begin(self, runtime: Any) -> None:
        self.runtime = runtime
        self.events: list[tuple[int, int, Operation | None, Any, Any]] = []

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        self.events.append((self.runtime.steps, task.id, op, obj, None))

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        self.events.append((self.runtime.steps, task.id, op, obj, result))

    def spawned(self, parent: Task | None, task: Task) -> None:
        if parent is not None:
            self.events.append((self.runtime.steps, parent.id, None, task, None))


WRITES = (Access.WRITE, Access.WRITE_ONCE, Access.RELEASE, Access.ACQ_REL)


def first_race(events: list[Any]) -> int | None:
    """The step of the first access that races with an earlier one, by transitive closure over all events."""
    before: list[set[int]] = []
    for j, (step, task, op, obj, result) in enumerate(events):
        known: set[int] = set()

        def after(i: int, known: set[int] = known) -> None:
            known.update(before[i])
            known.add(i)

        mine = [i for i in range(j) if events[i][1] == task]
        if mine:
            after(mine[-1])
        for i in range(j):
            _, _, other, thing, _ = events[i]
            if other is None:
                if thing.id == task:
                    after(i)
            elif (op is not None and op.name == "join" and other.name == "end" and thing is obj) or (
                op is not None and thing is obj and acquires(op, result) and gives(other, op)
            ):
                after(i)
        if op is not None and op.access in (Access.ACQUIRE, Access.ACQ_REL):
            for i in release_sequence(events, j):
                after(i)
        before.append(known)
        if op is None or not op.tracked:
            continue
        for i in range(j):
            _, whose, other, thing, _ = events[i]
            if (
                other is not None
                and other.tracked
                and thing is obj
                and other.field == op.field
                and whose != task
                and (op.access in WRITES or other.access in WRITES)
                and (op.access <= Access.WRITE or other.access <= Access.WRITE)
                and i not in known
            ):
                return int(step)
    return None


LOCKS = ("mutex_lock", "down_read", "down_write", "down_read_slowpath", "down_write_slowpath")


def acquires(op: Operation, result: Any) -> bool:
    return op.name in LOCKS or ("trylock" in op.name and bool(result))


def gives(release: Operation, acquire: Operation) -> bool:
    if release.name in ("mutex_unlock", "up_write", "downgrade_write"):
        return True
    return release.name == "up_read" and "write" in acquire.name


def release_sequence(events: list[Any], j: int) -> list[int]:
    """What the acquire at `j` synchronises with: back over atomics to the release that it reads from."""
    _, _, op, obj, _ = events[j]
    found = []
    for i in range(j - 1, -1, -1):
        _, _, other, thing, _ = events[i]
        if other is None or thing is not obj or other.field != op.field or other.access not in WRITES:
            continue
        if other.access in (Access.WRITE, Access.WRITE_ONCE):
            break
        found.append(i)
        if other.access is Access.RELEASE:
            break
    return found


ACTIONS = {
    "read": lambda w: w.cell.plain,
    "write": lambda w: setattr(w.cell, "plain", 1),
    "mark_read": lambda w: READ_ONCE(w.cell, "plain"),
    "mark_write": lambda w: WRITE_ONCE(w.cell, "plain", 1),
    "acquire": lambda w: smp_load_acquire(w.cell, "plain"),
    "release": lambda w: smp_store_release(w.cell, "plain", 1),
    "modify": lambda w: atomic_add_return(w.cell, "plain", 1),
    "flag_acquire": lambda w: smp_load_acquire(w.cell, "once"),
    "flag_release": lambda w: smp_store_release(w.cell, "once", 1),
    "flag_store": lambda w: setattr(w.cell, "once", 1),
    "flag_modify": lambda w: atomic_add_return(w.cell, "count", 1),
    "flag_set": lambda w: setattr(w.cell, "count", 1),
    "count_acquire": lambda w: smp_load_acquire(w.cell, "count"),
}
BLOCKS = ["mutex", "try", "read_side", "write_side", "downgrade", "child"]
scripts = st.lists(
    st.lists(st.sampled_from([*ACTIONS, *ACTIONS, *BLOCKS]), min_size=1, max_size=5), min_size=2, max_size=3
)


class World:
    def __init__(self) -> None:
        self.cell, self.mutex, self.sem = Cell(), Mutex("m"), RwSemaphore("s")

    def work(self, script: list[str]) -> None:
        for at, action in enumerate(script):
            rest = script[at + 1 :]
            if action in ACTIONS:
                ACTIONS[action](self)
                continue
            if action == "mutex":
                self.mutex.lock()
                self.inside(rest)
                self.mutex.unlock()
            elif action == "try":
                held = self.mutex.trylock()
                self.inside(rest)
                if held:
                    self.mutex.unlock()
            elif action == "read_side":
                self.sem.down_read()
                self.inside(rest)
                self.sem.up_read()
            elif action == "write_side":
                self.sem.down_write()
                self.inside(rest)
                self.sem.up_write()
            elif action == "downgrade":
                self.sem.down_write()
                self.sem.downgrade_write()
                self.inside(rest)
                self.sem.up_read()
            else:
                join(spawn(self.inside, rest))
            return

    def inside(self, script: list[str]) -> None:
        for action in script:
            if action in ACTIONS:
                ACTIONS[action](self)


@settings(max_examples=400, deadline=None)
@given(scripts, st.integers(0, 10_000))
def test_the_first_race_is_reported_and_nothing_else(script: list[list[str]], seed: int) -> None:
    def program() -> None:
        world = World()
        join(*[spawn(world.work, actions) for actions in script])

    log = Log()
    plain, checked = Simulated(RandomWalk(seed), (log,)), Simulated(RandomWalk(seed), (RaceDetector(),))
    stacks = Simulated(RandomWalk(seed), (RaceDetector(stacks=True),))
    for _ in range(4):
        whole = plain.run(program)
        assert whole.failure is None or whole.failure.kind is Kind.DEADLOCK
        expected = first_race(log.events)
        found, again = checked.run(program).failure, stacks.run(program).failure
        if expected is None:
            assert found is None or found.kind is Kind.DEADLOCK
        else:
            assert found is not None
            assert found.kind is Kind.DATA_RACE
            assert found.step == expected
        assert (found and found.signature) == (again and again.signature)


def test_the_brute_force_itself_sees_a_race_and_an_order() -> None:
    log = Log()

    def program(locked: bool) -> None:
        world = World()
        for _ in range(2):
            spawn(world.work, ["mutex", "write"] if locked else ["write"])

    runtime = Simulated(RandomWalk(1), (log,))
    runtime.run(lambda: program(True))
    assert first_race(log.events) is None
    runtime.run(lambda: program(False))
    assert first_race(log.events) is not None
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(log.events))
