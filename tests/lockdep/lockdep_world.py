"""A small world for the validator's tests: tasks, locks by name, holds as with-blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, Report, ReportKind, TaskContext, WaitType


class World:
    """Several tasks on one validator; `ctx` is the one that runs."""

    def __init__(self) -> None:
        self.tasks = {"main": TaskContext("main", 1)}
        self.ctx = self.tasks["main"]
        self.lockdep = Lockdep(lambda: self.ctx)
        self.keys: dict[str, LockClassKey] = {}

    def lock(self, name: str, wait: int = WaitType.INV, **options: Any) -> LockMap:
        """A new instance; instances of one name share a class."""
        key = self.keys.setdefault(name, LockClassKey(name))
        return LockMap(key, wait_inner=wait, **options)

    def locks(self, names: str, wait: int = WaitType.INV) -> list[LockMap]:
        return [self.lock(name, wait) for name in names.split()]

    @contextmanager
    def task(self, name: str) -> Iterator[TaskContext]:
        before = self.ctx
        self.ctx = self.tasks.setdefault(name, TaskContext(name, len(self.tasks) + 1))
        yield self.ctx
        self.ctx = before

    @contextmanager
    def held(self, *maps: LockMap, **how: Any) -> Iterator[None]:
        for lock_map in maps:
            self.lockdep.acquire(lock_map, **how)
        yield
        for lock_map in reversed(maps):
            self.lockdep.release(lock_map)

    def take(self, *maps: LockMap, **how: Any) -> None:
        """Acquires all in order, then releases all in reverse."""
        with self.held(*maps, **how):
            pass

    @contextmanager
    def irqs_off(self) -> Iterator[None]:
        self.lockdep.hardirqs_off()
        yield
        self.lockdep.hardirqs_on()

    @contextmanager
    def bh_off(self) -> Iterator[None]:
        self.lockdep.local_bh_disable()
        yield
        self.lockdep.local_bh_enable()

    @contextmanager
    def hardirq(self, threaded: bool = True) -> Iterator[None]:
        self.lockdep.hardirq_enter(threaded)
        yield
        self.lockdep.hardirq_exit()

    @contextmanager
    def softirq(self) -> Iterator[None]:
        self.lockdep.softirq_enter()
        yield
        self.lockdep.softirq_exit()

    @contextmanager
    def nmi(self) -> Iterator[None]:
        self.lockdep.nmi_enter()
        yield
        self.lockdep.nmi_exit()

    @property
    def kinds(self) -> list[ReportKind]:
        return [report.kind for report in self.lockdep.reports]

    @property
    def only(self) -> Report:
        (report,) = self.lockdep.reports
        return report

    def edges(self) -> set[str]:
        """The dependency graph, as ``A -EN|SN> B``."""
        from sugarbush.lockdep.show.snapshot import take

        snapshot = take(self.lockdep)
        names = snapshot.names
        return {f"{names[e.prev]} -{'|'.join(e.kinds)}> {names[e.next]}" for e in snapshot.edges}

    def usage(self, name: str) -> str:
        from sugarbush.lockdep.show.snapshot import take

        (row,) = (row for row in take(self.lockdep).classes if row.name == name)
        return row.usage
