"""The truth about small programs: a full interleaving search, written from the blocking table and nothing
else.

A program is a tuple of tasks; a task is a tuple of acquires (lock, mode) that it makes in order, without a
release between them; modes are 0 exclusive, 1 read, 2 recursive read. The table: an exclusive hold blocks
everybody; a shared one blocks writers, and readers too (a writer may stand in the queue between them), but
never recursive readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, ReportKind, TaskContext

Acquire = tuple[int, int]
Task = tuple[Acquire, ...]
Program = tuple[Task, ...]

KEYS = [LockClassKey(name) for name in "ABCDEF"]


def may_block(held: int, wanted: int) -> bool:
    return held == 0 or wanted != 2


def must_block(held: int, wanted: int) -> bool:
    return held == 0 or wanted == 0


def can_deadlock(program: Program) -> bool:
    """True when some interleaving reaches a set of tasks that may each wait for another of the set forever."""
    start = (0,) * len(program)
    seen = {start}
    pending = [start]
    while pending:
        state = pending.pop()
        if stuck(program, state):
            return True
        for task, done in enumerate(state):
            if done > len(program[task]):
                continue
            if done < len(program[task]) and blockers(program, state, task, must_block):
                continue
            after = (*state[:task], done + 1, *state[task + 1 :])
            if after not in seen:
                seen.add(after)
                pending.append(after)
    return False


def blockers(program: Program, state: tuple[int, ...], task: int, blocks) -> set[int]:  # type: ignore[no-untyped-def]
    """The tasks that hold what `task` wants next, in a way that blocks it. A task past its end holds nothing."""
    lock, mode = program[task][state[task]]
    return {
        other
        for other, done in enumerate(state)
        if other != task and done <= len(program[other])
        for held, how in program[other][:done]
        if held == lock and blocks(how, mode)
    }


def stuck(program: Program, state: tuple[int, ...]) -> bool:
    waiting = {task for task, done in enumerate(state) if done < len(program[task])}
    while True:
        still = {task for task in waiting if blockers(program, state, task, may_block) & waiting}
        if still == waiting:
            return bool(waiting)
        waiting = still


def stacks(locks: int, depth: int) -> list[Task]:
    """All sequences of distinct locks, one to `depth` long, in all modes."""
    return [
        tuple(zip(order, modes, strict=True))
        for length in range(1, depth + 1)
        for order in permutations(range(locks), length)
        for modes in product(range(3), repeat=length)
    ]


def programs(tasks: int, locks: int, depth: int) -> Iterator[Program]:
    """All programs, one for each renaming of the locks: new locks appear in the order 0, 1, 2."""
    for program in product(stacks(locks, depth), repeat=tasks):
        seen = -1
        for task in program:
            for lock, _ in task:
                if lock > seen + 1:
                    break
                seen = max(seen, lock)
            else:
                continue
            break
        else:
            yield program


def verdict(program: Program) -> set[ReportKind]:
    """What the validator says after it saw each task run once, alone."""
    ctx = TaskContext("program", 1)
    lockdep = Lockdep(lambda: ctx)
    maps = [LockMap(key) for key in KEYS]
    for task in program:
        for lock, mode in task:
            lockdep.acquire(maps[lock], read=mode)
        for lock, _ in reversed(task):
            lockdep.release(maps[lock])
    return {report.kind for report in lockdep.reports}
