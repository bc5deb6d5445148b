"""What the validator costs, as ratios within one run: ``python benchmarks/lockdep_validator.py [--json]``.

Each figure is the least of several rounds. A limit stands beside it where the project promises one; the exit status
is 1 when a limit is not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import combinations, islice, pairwise
from typing import NamedTuple

from sugarbush.concurrency import Settings, explore
from sugarbush.concurrency.locks.mutex import Mutex
from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, TaskContext, WaitType
from sugarbush.lockdep.python.threads import Lock, ThreadMonitor

# Short slices and many of them: one is left alone by whatever else the machine does.
LOOPS = 1_000
ROUNDS = 100


class Figure(NamedTuple):
    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def kept(self) -> bool:
        return self.limit is None or self.value <= self.limit


Body = Callable[[Iterable[int]], None]


def nanoseconds(*bodies: Body) -> list[float]:
    """For each body the least time of one pass of its loop, the empty loop taken off; rounds take turns."""
    runs: list[Body] = [empty, *bodies]
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for index, run in enumerate(runs):
            start = time.perf_counter_ns()
            run(range(LOOPS))
            best[index] = min(best[index], (time.perf_counter_ns() - start) / LOOPS)
    return [least - best[0] for least in best[1:]]


def empty(steps: Iterable[int]) -> None:
    for _ in steps:
        pass


def with_lock(lock: threading.Lock | Lock) -> Body:
    """The with-block itself, around nothing."""

    def body(steps: Iterable[int]) -> None:
        for _ in steps:
            with lock:
                pass

    return body


def validator() -> Lockdep:
    ctx = TaskContext("bench", 1)
    return Lockdep(lambda: ctx)


def new_lock(name: str) -> LockMap:
    return LockMap(LockClassKey(name), wait_inner=WaitType.SLEEP)


def take(lockdep: Lockdep, locks: Iterable[LockMap]) -> None:
    held = list(locks)
    for lock in held:
        lockdep.acquire(lock)
    for lock in reversed(held):
        lockdep.release(lock)


def known_pair(lockdep: Lockdep) -> Body:
    """Acquires and releases of a known stack of two."""
    outer, inner = new_lock("outer"), new_lock("inner")

    def body(steps: Iterable[int]) -> None:
        for _ in steps:
            lockdep.acquire(outer)
            lockdep.acquire(inner)
            lockdep.release(inner)
            lockdep.release(outer)

    return body


def with_classes(count: int) -> Lockdep:
    lockdep = validator()
    for index in range(count):
        take(lockdep, [new_lock(f"lock{index}")])
    return lockdep


def with_chains(groups: int) -> Lockdep:
    """For each group, ten classes and the first hundred stacks, up to three deep, that take them in order."""
    lockdep = validator()
    for group in range(groups):
        locks = [new_lock(f"lock{group}.{index}") for index in range(10)]
        for size in (1, 2, 3):
            for stack in islice(combinations(locks, size), 45):
                take(lockdep, stack)
    return lockdep


def edge_cost(length: int) -> float:
    """Nanoseconds for each edge that is reachable when a new one is added before a path of this length."""
    lockdep = validator()
    locks = [new_lock(f"lock{index}") for index in range(length)]
    for pair in pairwise(locks):
        take(lockdep, pair)
    times = []
    for _ in range(5):
        head = new_lock("head")
        start = time.perf_counter_ns()
        take(lockdep, (head, locks[0]))
        times.append(time.perf_counter_ns() - start)
    return min(times) / length


def memory_of_many_chains() -> float:
    """Megabytes of 10,000 classes with 100,000 chains."""
    tracemalloc.start()
    kept = with_chains(1_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept.state().classes) == 10_000
    return size / 1e6


def unseen_cost() -> float:
    """Microseconds for an acquire that makes a new chain and a new edge, among 60 classes."""
    pairs = list(islice(combinations(range(60), 2), 1000))
    times = []
    for _ in range(5):
        lockdep = validator()
        locks = [new_lock(f"lock{index}") for index in range(60)]
        for lock in locks:
            take(lockdep, [lock])
        start = time.perf_counter_ns()
        for first, second in pairs:
            take(lockdep, (locks[first], locks[second]))
        times.append(time.perf_counter_ns() - start)
    return min(times) / len(pairs) / 1000


def mutex_cost() -> float:
    """How much longer a step of the simulated runtime takes for a mutex that is watched."""

    def program() -> None:
        mutex = Mutex("mutex")
        for _ in range(500):
            mutex.lock()
            mutex.unlock()

    best = [float("inf")] * 2
    for _ in range(ROUNDS):
        for watched, without in enumerate((frozenset({"lockdep"}), frozenset[str]())):
            start = time.perf_counter_ns()
            explore(program, executions=1, settings=Settings(without=without))
            best[watched] = min(best[watched], time.perf_counter_ns() - start)
    return best[1] / best[0]


def measure() -> list[Figure]:
    plain, known, counted = nanoseconds(
        with_lock(threading.Lock()),
        with_lock(ThreadMonitor().Lock("lock")),
        with_lock(ThreadMonitor(stat=True).Lock("lock")),
    )
    few, many, chains = nanoseconds(
        known_pair(with_classes(10)), known_pair(with_classes(10_000)), known_pair(with_chains(1_000))
    )
    return [
        Figure("with threading.Lock()", plain, "ns"),
        Figure("with monitor.Lock(), known stack", known, "ns"),
        Figure("watched lock / bare lock", known / plain, "x", 10),
        Figure("watched lock with statistics / bare lock", counted / plain, "x"),
        Figure("acquire and release alone / bare lock", few / 2 / plain, "x"),
        Figure("mutex of the simulated runtime, watched / not", mutex_cost(), "x", 2.5),
        Figure("10,000 classes / 10 classes", many / few, "x", 1.2),
        Figure("10,000 classes with 100,000 chains / 10 classes", chains / few, "x", 1.2),
        Figure("an acquire never seen", unseen_cost(), "us"),
        Figure(
            "edge before a path of 10,000 / of 1,000, per edge", edge_cost(10_000) / edge_cost(1_000), "x"
        ),
        Figure("10,000 classes with 100,000 chains", memory_of_many_chains(), "MB", 200),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the lock validator costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = measure()
    if options.json:
        print(json.dumps({"figures": [{**figure._asdict(), "kept": figure.kept} for figure in figures]}))
    else:
        for figure in figures:
            limit = "" if figure.limit is None else f"  (at most {figure.limit:g})"
            print(f"{figure.name:<52}{figure.value:10.2f} {figure.unit}{limit}")
    return int(not all(figure.kept for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
