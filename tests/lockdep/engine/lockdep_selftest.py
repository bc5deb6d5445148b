"""Runs the kernel's locking self-tests (lib/locking-selftest.c), kept as abstract operations, on a validator.

A line of the data file is one case: group, name, row, column, F (must complain) or S (must stay silent), the
kind of report that a reference model gives first, and the operations, ``;`` between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, LockType, TaskContext, WaitType
from sugarbush.lockdep.engine.ww import WwClass, WwMutex, WwTicket
from sugarbush.lockdep.model import gfp

DATA = Path(__file__).parents[2] / "data" / "lockdep" / "selftests.jsonl"
COLUMNS = ("spin", "wlock", "rlock", "mutex", "wsem", "rsem", "rtmutex")
WAITS = {"raw": WaitType.SPIN, "spin": WaitType.CONFIG, "rw": WaitType.CONFIG, "local": WaitType.CONFIG}
MODES = {"W": 0, "r": 1, "R": 2}


class Case(NamedTuple):
    group: str
    name: str
    row: str
    column: str | None
    expect: str
    first_report: str | None
    ops: str

    @property
    def must_complain(self) -> bool:
        return self.expect == "F"


def load() -> list[Case]:
    return [Case(*json.loads(line)) for line in DATA.read_text().splitlines()]


class Machine:
    """One task on one CPU, as the suite sees it: every case starts on a new one."""

    def __init__(self, make: Callable[..., Lockdep] = Lockdep) -> None:
        self.ctx = TaskContext("swapper", 0)
        self.lockdep = make(lambda: self.ctx)
        self.keys: dict[str, LockClassKey] = {}
        self.maps: dict[str, LockMap] = {}
        self.ww_class = WwClass("ww_lockdep")
        self.tickets: dict[str, WwTicket] = {}
        self.mutexes: dict[str, WwMutex] = {}
        self.cookies: list[int] = []
        self.remembered = ""

    def run(self, ops: str) -> None:
        for op in ops.split(";"):
            name, *args = op.split(" ")
            getattr(self, f"op_{name}")(*args)

    def map(self, instance: str) -> LockMap:
        family, name = instance.split(":")
        if family == "ww":
            return self.mutex(name).lock_map
        if instance not in self.maps:
            key = self.keys.setdefault(f"{family}:{name.rstrip('12')}", LockClassKey(instance))
            kind = LockType.PERCPU if family == "local" else LockType.NORMAL
            wait = WAITS.get(family, WaitType.SLEEP)
            self.maps[instance] = LockMap(key, wait_inner=wait, lock_type=kind)
        return self.maps[instance]

    def mutex(self, name: str) -> WwMutex:
        return self.mutexes.setdefault(name, WwMutex(self.ww_class))

    def ticket(self, name: str) -> WwTicket:
        return self.tickets.setdefault(name, WwTicket(self.ww_class))

    def op_lock(self, instance: str, mode: str) -> None:
        self.lockdep.acquire(self.map(instance), read=MODES[mode])

    def op_lock_nest(self, instance: str, mode: str, nest: str) -> None:
        self.lockdep.acquire(self.map(instance), read=MODES[mode], nest_lock=self.map(nest))

    def op_unlock(self, instance: str) -> None:
        self.lockdep.release(self.map(instance))

    def op_init(self, instance: str) -> None:
        self.lockdep.free_check([self.map(instance)])

    def op_irq_off(self, which: str) -> None:
        if which == "hard":
            self.lockdep.hardirqs_off()
        else:
            self.lockdep.local_bh_disable()

    def op_irq_on(self, which: str) -> None:
        if which == "hard":
            self.lockdep.hardirqs_on()
        else:
            self.lockdep.local_bh_enable()

    def op_irq_enter(self, which: str) -> None:
        if which == "soft":
            self.lockdep.local_bh_disable()
            self.lockdep.hardirqs_off()
            self.lockdep.softirq_enter()
        else:
            self.lockdep.hardirqs_off()
            self.lockdep.hardirq_enter(threaded=which == "hard")

    def op_irq_exit(self, which: str) -> None:
        if which == "soft":
            self.lockdep.softirq_exit()
            self.lockdep.hardirqs_on()
            self.lockdep.local_bh_enable()
        else:
            self.lockdep.hardirq_exit()
            self.lockdep.hardirqs_on()

    def op_rcu_lock(self, flavour: str) -> None:
        self.lockdep.acquire(getattr(self.lockdep.maps, flavour), read=2, check=False)

    def op_rcu_unlock(self, flavour: str) -> None:
        self.lockdep.release(getattr(self.lockdep.maps, flavour))

    def op_reclaim_acquire(self, flags: str) -> None:
        self.lockdep.fs_reclaim_acquire(getattr(gfp, flags))

    def op_reclaim_release(self, flags: str) -> None:
        self.lockdep.fs_reclaim_release(getattr(gfp, flags))

    def op_might_alloc(self, flags: str) -> None:
        self.lockdep.might_alloc(getattr(gfp, flags))

    def op_nofs_save(self) -> None:
        self.cookies.append(self.lockdep.memalloc_nofs_save())

    def op_nofs_restore(self) -> None:
        self.lockdep.memalloc_nofs_restore(self.cookies.pop())

    def op_ww_init(self, name: str) -> None:
        self.lockdep.ww_acquire_init(self.ticket(name))

    def op_ww_done(self, name: str) -> None:
        self.lockdep.ww_acquire_done(self.ticket(name))

    def op_ww_fini(self, name: str) -> None:
        self.lockdep.ww_acquire_fini(self.ticket(name))

    def op_ww_lock(self, name: str, ticket_name: str, outcome: str) -> None:
        if outcome == "EALREADY":
            return
        mutex = self.mutex(name)
        ticket = None if ticket_name == "-" else self.ticket(ticket_name)
        self.lockdep.ww_mutex_lock(mutex, ticket)
        self.ww_outcome(mutex, ticket, outcome)

    def ww_outcome(self, mutex: WwMutex, ticket: WwTicket | None, outcome: str) -> None:
        if ticket is None:
            return
        if outcome == "EDEADLK":
            self.lockdep.ww_mutex_backed_off(mutex, ticket)
        else:
            self.lockdep.ww_mutex_acquired(mutex, ticket)

    def op_ww_lock_slow(self, name: str, ticket_name: str) -> None:
        mutex, ticket = self.mutex(name), self.ticket(ticket_name)
        self.lockdep.ww_mutex_lock_slow(mutex, ticket)
        self.ww_outcome(mutex, ticket, "ok")

    def op_ww_trylock(self, name: str, outcome: str) -> None:
        if outcome == "ok":
            self.lockdep.ww_mutex_trylocked(self.mutex(name))

    def op_ww_unlock(self, name: str) -> None:
        self.lockdep.ww_mutex_unlock(self.mutex(name))

    def op_base_lock(self, name: str, how: str) -> None:
        lock_map = self.mutex(name).lock_map
        if how.startswith("nest:"):
            self.lockdep.acquire(lock_map, nest_lock=self.ticket(how[5:]).lock_map)
        elif how != "try_fail":
            self.lockdep.acquire(lock_map, trylock=how == "try_ok")

    def op_base_unlock(self, name: str) -> None:
        self.lockdep.release(self.mutex(name).lock_map)

    def op_ld_release(self, name: str) -> None:
        self.lockdep.release(self.mutex(name).lock_map)

    def op_ld_acquire_try(self, name: str) -> None:
        self.lockdep.acquire(self.mutex(name).lock_map, trylock=True)

    def op_poke(self, what: str) -> None:
        """Tampers with a field; the stamps, which decide who backs off, are part of no check."""
        target, _, value = what.partition("=")
        name, _, field = target.partition(".")
        if field == "ctx":
            self.mutex(name).ticket = None if value == "null" else self.ticket(value)
        elif field == "ww_class":
            self.ticket(name).ww_class = None
        elif field == "acquired":
            self.ticket(name).acquired = int(value)
        elif value.startswith("copy("):
            self.ticket(name).acquired = self.ticket(value[5:-1]).acquired

    def op_set_subclass(self, instance: str, subclass: str) -> None:
        self.lockdep.set_subclass(self.map(instance), int(subclass))

    def op_check(self, what: str) -> None:
        if what.startswith("remember"):
            self.remembered = self.map(what.rpartition("_of_")[2]).name
        else:
            assert self.map("rwsem:X1").name == self.remembered


def complains(case: Case, make: Callable[..., Lockdep] = Lockdep) -> str | None:
    """The kind of the first report that the case gives, None when the validator stays silent."""
    machine = Machine(make)
    machine.run(case.ops)
    kinds = [str(report.kind) for report in machine.lockdep.reports if report.is_failure]
    return kinds[0] if kinds else None


def table(cases: Iterable[Case], passed: Callable[[Case], bool]) -> list[str]:
    """The suite's own table: one row a test, one cell a case, and its summary line."""
    rows: dict[str, list[bool]] = {}
    for case in cases:
        rows.setdefault(case.row, []).append(passed(case))
    lines = [f"{'':28}| {' |'.join(f'{column:>5}' for column in COLUMNS)}", "-" * 80]
    for row, cells in rows.items():
        lines.append(f"{row:>28}:" + "".join("  ok  |" if ok else "FAILED|" for ok in cells))
    total = sum(map(len, rows.values()))
    bad = sum(cells.count(False) for cells in rows.values())
    lines.append("-" * 57)
    if bad:
        lines.append(f"BUG: {bad} unexpected failures (out of {total}) - debugging disabled! |")
    else:
        lines.append(f"Good, all {total} testcases passed! |")
    return lines
