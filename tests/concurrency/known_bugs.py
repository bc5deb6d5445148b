"""Small programs with a known bug each: what every strategy, the minimiser and replay are tried on.

The first five are the classical ones on which explorers are compared: lost update, AB-BA, three tasks of which two are
preempted in small windows, a bounded buffer with one wake-up too few, and a reader that outlives what it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from concurrency_programs import BARE, NO_RACES, Cell, abba, lost_update

from sugarbush.concurrency import Kind, KmemCache, Mutex, Plain, Settings, Shared, bug_on, check, join, spawn
from sugarbush.concurrency.lowlevel import Operation, perform

GFP_ATOMIC = 0x20


@dataclass(frozen=True)
class KnownBug:
    """A program, how it is run, what it shows, and the fewest preemptions with which it does."""

    program: Callable[[], Any]
    settings: Settings
    kind: Kind
    preemptions: int


def lost_update_beside_noise() -> None:
    """As `lost_update`, with a task that has nothing to do with it."""
    cell, other = Cell(), Cell()

    def add() -> None:
        cell.once = cell.once + 1

    def noise() -> None:
        for _ in range(10):
            other.once = other.once + 1

    join(spawn(noise, name="noise"), spawn(add, name="ann"), spawn(add, name="bob"))
    check(cell.once == 2, "both additions count")


def two_ways() -> None:
    """A window inside a window takes two preemptions; one far off, which only who comes first enters, takes one."""
    opened, inner, far, noise = Cell(), Cell(), Cell(), Cell()

    def looks() -> None:
        opened.once = 1
        opened.once = 0
        check(not inner.once and not far.once, "nobody looks into a window")

    def opens() -> None:
        if opened.once:
            inner.once = 1
            inner.once = 0
            return
        for _ in range(6):
            noise.once = noise.once + 1
        far.once = 1
        far.once = 0

    join(spawn(looks), spawn(opens))


def seen_on_a_page() -> None:
    """Pages are opened for a moment, one after the other; the check that sees it names the page."""
    pages = [Cell() for _ in range(4)]

    def opens() -> None:
        for page in pages:
            page.once = 1
            page.once = 0

    def looks() -> None:
        for number, page in enumerate(pages):
            bug_on(page.once, f"page {number * 4096:#x} is open", "open-page")

    join(spawn(opens), spawn(looks))


class Windows:
    """Depth 3: `tests` must look inside the window of `opens`, and `looks` inside that of `tests`.

    Before its part each task does so many rounds of two operations that matter to nobody.
    """

    def __init__(self, rounds: tuple[int, int, int]) -> None:
        self.rounds = rounds

    def __call__(self) -> None:
        flags, noise = [Cell(), Cell()], Cell()

        def rounds(which: int) -> None:
            for _ in range(self.rounds[which]):
                noise.once = noise.once + 1

        def opens() -> None:
            rounds(0)
            flags[0].once = 1
            flags[0].once = 0

        def tests() -> None:
            rounds(1)
            if flags[0].once:
                flags[1].once = 1
                flags[1].once = 0

        def looks() -> None:
            rounds(2)
            check(not flags[1].once, "nobody looks into both windows")

        join(spawn(opens), spawn(tests), spawn(looks))


aligned_windows = Windows((1, 1, 1))
skewed_windows = Windows((2, 8, 14))


class Buffer:
    """Cargill's bounded buffer of one place, whose one condition serves both producers and consumers."""

    name = "buffer"

    def __init__(self) -> None:
        self.full = False
        self.asleep: list[Any] = []


def _sleep(buffer: Buffer, task: Any, _arg: object) -> None:
    buffer.asleep.append(task)


def _wake_one(buffer: Buffer, _task: Any, _arg: object) -> None:
    if buffer.asleep:
        buffer.asleep.pop(0)


SLEEP = Operation("wait", effect=_sleep)
AWAKE = Operation("wait", ready=lambda buffer, task: task not in buffer.asleep)
NOTIFY = Operation("notify", effect=_wake_one, wakes=True)


def change(mutex: Mutex, buffer: Buffer, full: bool, notify: Operation) -> None:
    """Put or take one thing, in a monitor; wait while it is full already, or empty."""
    mutex.lock()
    while buffer.full is full:
        perform(SLEEP, buffer)
        mutex.unlock()
        perform(AWAKE, buffer)
        mutex.lock()
    buffer.full = full
    perform(notify, buffer)
    mutex.unlock()


def bounded_buffer() -> None:
    """Two consumers and one producer of two things share one condition; notify() where notify_all() is due."""
    mutex, buffer = Mutex("monitor"), Buffer()

    def changes(full: bool, times: int) -> None:
        for _ in range(times):
            change(mutex, buffer, full, NOTIFY)

    spawn(changes, False, 1, name="take 0")
    spawn(changes, False, 1, name="take 1")
    spawn(changes, True, 2, name="put")


class Node(Shared):
    value: Plain[int] = 0


def freed_too_soon() -> None:
    """Two readers load a pointer; the writer unlinks and frees without waiting for them."""
    cache, root = KmemCache("node", Node), Cell()
    root.once = cache.alloc(GFP_ATOMIC)

    def reads() -> None:
        node = root.once
        if node is not None:
            assert node.value == 0

    def writes() -> None:
        node = root.once
        root.once = None
        cache.free(node)

    join(spawn(reads, name="reader 0"), spawn(reads, name="reader 1"), spawn(writes, name="writer"))


def locked_order() -> None:
    """Two tasks of two locked sections; only one of the six orders is wrong."""
    mutex, order = Mutex("m"), []

    def work(name: str) -> None:
        for _ in range(2):
            with mutex:
                order.append(name)

    join(spawn(work, "a"), spawn(work, "b"))
    check("".join(order) != "baab", "never b, a, a, b")


def lost_wakeup() -> None:
    """The sleeper looks, the waker sets and wakes nobody, the sleeper sleeps: for ever, which is a deadlock at once."""
    cell, buffer = Cell(), Buffer()

    def sleeps() -> None:
        if not cell.once:
            perform(SLEEP, buffer)
            perform(AWAKE, buffer)

    def wakes() -> None:
        cell.once = 1
        perform(NOTIFY, buffer)

    join(spawn(sleeps, name="sleeper"), spawn(wakes, name="waker"))


def self_deadlock() -> None:
    """Whoever looks too early takes a lock twice."""
    cell, gate = Cell(), Mutex("gate")

    def waits() -> None:
        if not cell.once:
            gate.lock()
            gate.lock()

    def wakes() -> None:
        cell.once = 1

    join(spawn(waits, name="waits"), spawn(wakes, name="wakes"))


def unhandled_fault() -> None:
    """The third allocation must not fail, the others may."""
    cache = KmemCache("node", Node)
    nodes = [cache.alloc(GFP_ATOMIC) for _ in range(4)]
    check(nodes[2] is not None, "the third allocation works")
    for node in nodes:
        if node is not None:
            cache.free(node)


NO_LOCKDEP = Settings(without=frozenset({"lockdep"}))

CLASSICAL = {
    "lost update": KnownBug(lost_update, BARE, Kind.CHECK, 1),
    "ab-ba": KnownBug(abba, NO_LOCKDEP, Kind.DEADLOCK, 1),
    "windows": KnownBug(aligned_windows, BARE, Kind.CHECK, 2),
    "bounded buffer": KnownBug(bounded_buffer, BARE, Kind.DEADLOCK, 0),
    "freed too soon": KnownBug(freed_too_soon, NO_RACES, Kind.USE_AFTER_FREE, 1),
}

KNOWN_BUGS = {
    **CLASSICAL,
    "locked sections": KnownBug(locked_order, BARE, Kind.CHECK, 1),
    "lost update beside noise": KnownBug(lost_update_beside_noise, BARE, Kind.CHECK, 1),
    "lost update, as a race": KnownBug(lost_update, Settings(), Kind.CHECK, 1),
    "ab-ba, as lockdep sees it": KnownBug(abba, Settings(), Kind.LOCKDEP, 0),
    "lost wake-up": KnownBug(lost_wakeup, BARE, Kind.DEADLOCK, 1),
    "self deadlock": KnownBug(self_deadlock, BARE, Kind.DEADLOCK, 0),
    "failed allocation": KnownBug(unhandled_fault, Settings(faults=2), Kind.CHECK, 0),
}
"""By name; `CLASSICAL` first."""
