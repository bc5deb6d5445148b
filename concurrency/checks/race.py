"""The data race detector: plain accesses of two tasks to one place, one a write, that nothing orders.

Happens-before by vector clocks, with the accesses of each place kept as epochs: Flanagan and Freund, "FastTrack:
Efficient and Precise Dynamic Race Detection", PLDI 2009, section 3, extended by marked accesses. A pair of marked
accesses is no race; a marked against a plain one is, as for KCSAN (Documentation/dev-tools/kcsan.rst, v6.6). A marked
write after a write barrier releases, a read barrier acquires what marked reads before it have read from, as the fences
of C11 do. What grace periods of RCU order is `concurrency.rcu.order`'s; where that is known only later, so is the
report: a pair of accesses that would be ordered if an open reader outlasted a grace period waits for the reader's end.

Under weak memory it is the write that was read from that counts, not the last one: the memory says which it was.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.checks.late import LateOrders, Suspect
from sugarbush.concurrency.checks.past import Clock, FieldRecord, FieldRecords, Past, PastAccess, merge
from sugarbush.concurrency.core import (
    END,
    JOIN,
    Access,
    Failure,
    Fence,
    Kind,
    Operation,
    Runtime,
    Task,
    label,
    stack,
)
from sugarbush.concurrency.memory import Shared
from sugarbush.concurrency.rcu import GraceOrder
from sugarbush.concurrency.time import run_clock

_NONE, _READ, _WRITE = Access.NONE, Access.READ, Access.WRITE
_READ_ONCE, _WRITE_ONCE = Access.READ_ONCE, Access.WRITE_ONCE
_ACQUIRE, _RELEASE, _ACQ_REL = Access.ACQUIRE, Access.RELEASE, Access.ACQ_REL
_MARKED_READS = (Access.READ_ONCE, Access.ACQUIRE)
_OVERWRITES = (Access.WRITE, Access.WRITE_ONCE)
"""Writes after which an acquire of the place no longer reads from the release before."""


class RaceDetector(LateOrders):
    """Reports the first data race of an execution as a `Failure`.

    With `stacks` each access keeps its stack, for a report with both; without it detection is several times faster.
    An execution that failed is run again with stacks.
    """

    def __init__(self, *, stacks: bool = False) -> None:
        super().__init__()
        self._stacks = stacks
        self._runtime: Runtime | None = None
        self._records: dict[int, FieldRecords] = {}
        self._on = True
        self._short = False
        """Plain accesses take the short way (`_plain`)."""
        self._pending: dict[int, Clock] = {}
        """For each task, what a read barrier would make known."""
        self._before_barrier: dict[int, Clock] = {}
        """For each task, its clock at its last write barrier."""
        self._heeded = False
        """Whether an operation of this execution meant something to RCU: else its orders need not be made anew."""
        self.follows_reads = False
        """Whether the memory says what each access to a field reads from (weak memory)."""

    def begin(self, runtime: Runtime) -> None:
        """Forget the last execution: each starts from nothing, so that its schedule alone decides what is found."""
        self._runtime = runtime
        self._pending = {}
        self._before_barrier = {}
        self._clocks = []
        self._records = {}
        if self._heeded:
            self._rcu, self._heeded = GraceOrder(self), False
        self._late = {}
        self._suspects = []
        self._on = "data-race" not in runtime.without
        self._short = self._on and not self._stacks

    def spawned(self, parent: Task | None, task: Task) -> None:
        """What the parent did before is before all that the child does."""
        clock: Clock = {}
        # The task of the clock is started by whatever sets the first timer, which orders nothing for the other timers.
        if parent is not None and task.fn is not run_clock:
            clock.update(self._clocks[parent.id])
            self._clocks[parent.id][parent.id] += 1
        clock[task.id] = 1
        self._clocks.append(clock)
        if self._rcu.tasks is not None and not self.follows_reads:
            self._rcu.spawned(task)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """Take over and leave the orderings that locks, RCU and joins make."""
        # Most operations mean nothing to RCU, and are not asked further. A task that ends does only if it leaves a
        # reader open; under Tasks RCU every wait counts.
        rcu = self._rcu
        if (op.heeds or rcu.tasks is not None or (op is END and rcu.plain.open)) and not self.follows_reads:
            self._heeded = True
            rcu.performed(task, op, obj, arg, result)
            if self._suspects:
                self._judge()
        whose = obj if op.surely else op.ordered(obj, arg, result)
        if op.acquires and whose is not None:
            # A task that has ended does nothing more: its clock stays as it is, and was not left with the task.
            if op is JOIN and id(obj) not in self._records:
                merge(self._clocks[task.id], self._clocks[obj.id])
                return
            fields = self._records.get(id(whose)) or self._fields(whose)
            for name in op.acquires:
                record = fields[name]
                if record.knower != task.id and record.clock:
                    merge(self._clocks[task.id], record.clock)
                    record.knower = task.id
        if op.access is not _NONE or op.before is not None or op.after is not None:
            self.accessed(task, op, obj)
        if op.releases and whose is not None:
            if op is END and id(obj) not in self._records:
                return
            clock = self._clocks[task.id]
            fields = self._records.get(id(whose)) or self._fields(whose)
            for name in op.releases:
                record = fields[name]
                if record.knower == task.id or not record.clock:
                    record.clock = clock.copy()
                    record.knower = task.id
                else:
                    merge(record.clock, clock)
                    record.knower = -1
            # What the task does from here on was not released with the rest.
            clock[task.id] += 1

    def finished(self) -> None:
        """Report what is still suspect: a reader that never ends outlasts no grace period whose end was seen."""
        for suspect in self._suspects:
            raise suspect.failure

    def _unknown(self, first: PastAccess, task: Task, op: Operation, obj: object, clock: Clock) -> None:
        """Nothing known so far orders the access after `first`: report it, unless that is not settled."""
        # What has been learned late since may order the two after all.
        if self._late:
            self._complete(clock, self._late)
            if first.epoch <= clock.get(first.task.id, 0):
                return
        if not self.follows_reads and self._may_know(first, clock):
            # A later access of the same task knows at least as much, so the first suspicion stands for both.
            if all(other.first is not first or other.task is not task for other in self._suspects):
                self._suspects.append(
                    Suspect(first, task, clock.copy(), self._race(first, task, op, obj, late=True))
                )
            return
        raise self._race(first, task, op, obj)

    # -- accesses ---------------------------------------------------------------------------------------------------

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Compare an access with those before it, and remember it."""
        access = op.access
        if op.before is not None:
            self._barrier(task, op.before)
        if op.tracked and self._short and (access is _READ or access is _WRITE) and not self.follows_reads:
            self._plain(task, op, obj)
            if op.after is not None:
                self._barrier(task, op.after)
            return
        barriers = self._before_barrier
        follow: object = op.tracked or access is _RELEASE or (barriers and access in _OVERWRITES)
        # Most other accesses order nothing, and end here: no task has released what they read.
        if not follow and access is not _NONE and id(obj) in self._records:
            record = self._records[id(obj)].get(op.field)
            follow = record is not None and record.clock
        if follow:
            if self.follows_reads and (isinstance(obj, Shared) or op.word is not None):
                if access is not _ACQUIRE and access is not _ACQ_REL:
                    self.compare(task, op, obj)
            else:
                self._follow(task, op, obj, barriers)
        if op.after is not None:
            self._barrier(task, op.after)

    def _plain(self, task: Task, op: Operation, obj: object) -> None:
        """What `_follow` and `_compare` do for a plain access, most of all accesses, where no stacks are kept.

        Nothing is compared again that the same task has compared in the same epoch, if no access has come since that
        could race with it: that has raced with the first one, or would be in one of the tables.
        """
        number = task.id
        clock = self._clocks[number]
        epoch = clock[number]
        record = (self._records.get(id(obj)) or self._fields(obj))[op.field]
        past = record.past
        if past is None:
            past = record.past = Past()
        write = past.write
        if op.access is _READ:
            seen = past.reads.get(number)
            again = seen is not None and seen.epoch == epoch and seen.op is op
            # The rule READ SAME EPOCH of FastTrack. A pair of which it is open whether it is a race is left in the
            # tables, so then all is looked at.
            if again and not past.marked_writes and not self._suspects and not self._late:
                return
            if write is not None and write.epoch > clock.get(write.task.id, 0):
                self._unknown(write, task, op, obj, clock)
            if past.marked_writes:
                self._compare_all(past.marked_writes, task, op, obj, clock)
            if not again:
                seen, past.spare = past.spare, None
                if seen is not None and seen.task is task and not self._suspects:
                    seen.epoch = epoch
                    seen.op = op
                else:
                    seen = PastAccess(task, epoch, op, ())
                past.reads[number] = seen
            return
        if write is not None and write.epoch > clock.get(write.task.id, 0):
            self._unknown(write, task, op, obj, clock)
        # What it has read itself it need not be compared with.
        past.spare = past.reads.pop(number, None) if past.reads else None
        if past.reads or past.marked_reads or past.marked_writes:
            for earlier in (past.reads, past.marked_reads, past.marked_writes):
                if earlier:
                    self._compare_all(earlier, task, op, obj, clock)
                    earlier.clear()
        if write is not None and write.task is task and not self._suspects:
            # Used again, since nobody else keeps it: only a suspect would.
            write.epoch = epoch
            write.op = op
        else:
            past.write = PastAccess(task, epoch, op, ())
        if record.clock:
            record.clock = {}
            record.knower = -1

    def _follow(self, task: Task, op: Operation, obj: object, barriers: dict[int, Clock]) -> None:
        """An access reads what was written last."""
        access = op.access
        fields = self._records.get(id(obj)) or self._fields(obj)
        record = fields[op.field]
        clock = self._clocks[task.id]
        if record.clock:
            if access is _ACQUIRE:
                merge(clock, record.clock)
                record.knower = task.id
            elif access is _READ_ONCE:
                merge(self._pending.setdefault(task.id, {}), record.clock)
        if op.tracked and self._on:
            self._compare(task, op, obj, record, clock)
        if access is _RELEASE:
            record.clock = clock.copy()
            record.knower = task.id
            clock[task.id] += 1
        elif access in _OVERWRITES and (record.clock or barriers):
            before = barriers.get(task.id) if access is _WRITE_ONCE else None
            record.clock = before.copy() if before else {}
            record.knower = -1

    def _barrier(self, task: Task, barrier: Fence) -> None:
        clock = self._clocks[task.id]
        # A read barrier takes over what marked reads before it have read from.
        if barrier is not Fence.WMB and task.id in self._pending:
            merge(clock, self._pending.pop(task.id))
        # A write barrier keeps what marked writes after it leave, as the release fence of C11.
        if barrier is not Fence.RMB:
            self._before_barrier[task.id] = clock.copy()
            clock[task.id] += 1

    def compare(self, task: Task, op: Operation, obj: object) -> None:
        """Compare an access with those before it, and remember it; what it reads from is known already."""
        if op.tracked and self._on:
            fields = self._records.get(id(obj)) or self._fields(obj)
            self._compare(task, op, obj, fields[op.field], self._clocks[task.id])

    def reads_from(self, task: Task, clock: Clock, *, acquires: bool) -> None:
        """`task` reads a write that was left with `clock`."""
        merge(self._clocks[task.id] if acquires else self._pending.setdefault(task.id, {}), clock)

    def writes(self, task: Task, *, releases: bool, onto: Clock | None = None) -> Clock | None:
        """The clock that a write of `task` leaves; `onto` was left by the write that it replaces atomically."""
        if releases:
            mine = self._clocks[task.id]
            left = mine.copy()
            mine[task.id] += 1
        else:
            # A relaxed write leaves what was known at the last write barrier; an atomic one also what the write
            # before it left.
            before = self._before_barrier.get(task.id)
            if before is None:
                return onto
            left = before.copy()
        if onto is not None:
            merge(left, onto)
        return left

    def _fields(self, obj: object) -> FieldRecords:
        """The records of an object that has none yet; they keep it alive, so that its id stays its own."""
        made = self._records[id(obj)] = FieldRecords()
        made.obj = obj
        # Its end has left nothing (`performed`), and whoever asks is no join.
        if isinstance(obj, Task) and obj.ended:
            made["end"].clock = self._clocks[obj.id].copy()
        return made

    def _compare(self, task: Task, op: Operation, obj: object, record: FieldRecord, clock: Clock) -> None:
        access = op.access
        past = record.past
        if past is None:
            past = record.past = Past()
        write = past.write
        if write is not None and write.epoch > clock.get(write.task.id, 0):
            self._unknown(write, task, op, obj, clock)
        if access is _READ:
            if past.marked_writes:
                self._compare_all(past.marked_writes, task, op, obj, clock)
            self._remember(past.reads, task, clock, op)
        elif access is _WRITE:
            for earlier in (past.reads, past.marked_reads, past.marked_writes):
                if earlier:
                    self._compare_all(earlier, task, op, obj, clock)
                    earlier.clear()
            # What came before this write is ordered before it, or a race was reported: so it stands for all of that.
            past.write = PastAccess(task, clock[task.id], op, stack() if self._stacks else ())
        elif access in _MARKED_READS:
            self._remember(past.marked_reads, task, clock, op)
        else:
            if past.reads:
                self._compare_all(past.reads, task, op, obj, clock)
            self._remember(past.marked_writes, task, clock, op)

    def _compare_all(
        self, earlier: dict[int, PastAccess], task: Task, op: Operation, obj: object, clock: Clock
    ) -> None:
        known = clock.get
        for number, seen in earlier.items():
            if seen.epoch > known(number, 0):
                self._unknown(seen, task, op, obj, clock)

    def _remember(self, where: dict[int, PastAccess], task: Task, clock: Clock, op: Operation) -> None:
        number = task.id
        epoch = clock[number]
        seen = where.get(number)
        if seen is None or seen.epoch != epoch or seen.op is not op or self._stacks:
            where[number] = PastAccess(task, epoch, op, stack() if self._stacks else ())

    def _race(
        self, first: PastAccess, task: Task, op: Operation, obj: object, *, late: bool = False
    ) -> Failure:
        where = f"{label(obj)}.{op.field}" if op.field else label(obj)

        def line(name: str, by: Task) -> str:
            return f"{name} of {where} by task {by.id} ({by.name}):"

        detail = [line(op.name, task), *(f"  {frame}" for frame in stack())]
        detail += ["", line(first.op.name, first.task), *(f"  {frame}" for frame in first.stack)]
        detail += ["", "no lock, release/acquire pair or join orders the two"]
        if late:
            detail += [
                "a grace period would have, had the reader around the later one not ended before it was over"
            ]
        return Failure(
            Kind.DATA_RACE,
            f"BUG: KCSAN: data-race in {where}: {first.op.name} by {first.task.name}, {op.name} by {task.name}",
            "\n".join(detail),
            check="data-race",
        )
