"""Data races by definition: two accesses to one plain place, of which one writes and one is plain, that nothing orders.

Happens-before is the transitive closure of the order within each task and of what the documentation says that each
primitive orders. It is computed over the whole execution, without clocks. What the kernel promises of grace periods
(Requirements.rst, "Memory-Barrier Guarantees", v6.6): a reader that began before a grace period is before the end of
it; a reader that ends after a grace period has ended knows what came before that began; any other knows nothing. The
end of a grace period is what somebody sees of it: a wait that is over, a callback that runs, a poll that says so.

A reader that goes on after somebody has seen the end is ordered in its whole length, also where an access of it came
before that end; whether that is so is not known yet when the access is made. So there are two answers: `racing` are
the accesses that race whatever comes, `maybe` those that do not if one waits for the end of their reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adversary_traces import Event, Story

_READS = {"read", "READ_ONCE", "smp_load_acquire", "rcu_dereference", "rcu_access_pointer"}
_WRITES = {"write", "WRITE_ONCE", "smp_store_release", "rcu_assign_pointer"}

LOCKS = {
    "mutex": ({"mutex_lock", "mutex_trylock"}, {"mutex_unlock"}),
    "spin": ({"spin_lock", "spin_trylock"}, {"spin_unlock"}),
    "tap": ({"tap_lock", "tap_trylock"}, {"tap_unlock"}),
    "sem": (
        {
            "down_read",
            "down_read_slowpath",
            "down_read_trylock",
            "down_write",
            "down_write_slowpath",
            "down_write_trylock",
        },
        {"up_write", "downgrade_write"},
    ),
    "sem readers": ({"down_write", "down_write_slowpath", "down_write_trylock"}, {"up_read"}),
    "rw": ({"read_lock", "read_trylock", "write_lock", "write_trylock"}, {"write_unlock"}),
    "rw readers": ({"write_lock", "write_trylock"}, {"read_unlock"}),
    "semaphore": ({"down", "down_slowpath", "down_trylock"}, {"up"}),
    "completion": (
        {"wait_for_completion", "try_wait_for_completion", "completion_done"},
        {"complete", "complete_all"},
    ),
    "flag": ({"wait", "is_set"}, {"set"}),
    "barrier": ({"barrier_wait"}, {"barrier_arrive"}),
    "condition": ({"condition_wait awake"}, {"notify", "notify_all"}),
    "queue": (
        {"prepare_to_wait", "prepare_to_wait_exclusive", "wake_up", "wake_up_all"},
        {"prepare_to_wait", "prepare_to_wait_exclusive", "wake_up", "wake_up_all"},
    ),
    "sleep": ({"schedule"}, {"wake_up", "wake_up_all", "wake_up_process"}),
    "callback done": ({"rcu_barrier_wait", "srcu_barrier_wait"}, {"rcu_callback_done", "srcu_callback_done"}),
    "meter": ({"await"}, {"grow"}),
}
"""For each kind of order: who takes over, if it has succeeded, and who hands on, on the same object."""

_TRIES = {"mutex_trylock", "spin_trylock", "tap_trylock", "down_read", "down_write", "down_read_trylock"}
_TRIES |= {
    "down_write_trylock",
    "read_trylock",
    "write_trylock",
    "down",
    "down_trylock",
    "try_wait_for_completion",
}
_TRIES |= {"is_set", "barrier_wait", "completion_done"}
"""They take over only what they got."""

_BEGINS = {
    "synchronize_rcu",
    "call_rcu",
    "start_poll_synchronize_rcu",
    "synchronize_srcu",
    "call_srcu",
    "start_poll_synchronize_srcu",
}
_ENDS = {
    "synchronize_rcu_wait",
    "rcu_callback",
    "synchronize_srcu_wait",
    "srcu_callback",
    "rcu_grace_period_over",
    "srcu_grace_period_over",
}


@dataclass(slots=True)
class Races:
    """The accesses, by number of the event, that race with an earlier one."""

    racing: list[int]
    maybe: list[int]


class Happened:
    """One execution."""

    def __init__(self, story: Story) -> None:
        self.events = story.events
        self.births = story.births
        count = len(self.events)
        self.direct: list[set[int]] = [set() for _ in range(count)]
        self.late: list[set[int]] = [set() for _ in range(count)]
        """Orders that hold only since a reader went on for long enough."""
        self._program_order()
        for at, event in enumerate(self.events):
            self._synchronises(at, event)
        self._grace_periods()
        self._timers()

    @staticmethod
    def waits(story: Story) -> bool:
        """There are grace periods in this execution."""
        return any(event.op.name in _BEGINS for event in story.events)

    def _program_order(self) -> None:
        latest: dict[str, int] = {}
        parents = {child: (parent, at) for parent, child, at in self.births}
        for at, event in enumerate(self.events):
            if event.task in latest:
                self.direct[at].add(latest[event.task])
            else:
                parent, born = parents.get(event.task, (None, 0))
                before = [n for n in range(born) if self.events[n].task == parent]
                self.direct[at].update(before[-1:])
            latest[event.task] = at

    def _synchronises(self, at: int, event: Event) -> None:
        name = event.op.name
        got = bool(event.result) or (
            event.result == 0 and name == "barrier_wait" and event.result is not None
        )
        if name == "join":
            self.direct[at].update(
                n for n in range(at) if self.events[n].op.name == "end" and self.events[n].obj is event.obj
            )
        if name == "schedule" and event.result is False:
            got = False
        for takers, givers in LOCKS.values():
            awake = (
                name == "condition_wait" and event.op.ready is not None and "condition_wait awake" in takers
            )
            if (name in takers and (name not in _TRIES or got)) or awake:
                self.direct[at].update(
                    n
                    for n in range(at)
                    if self.events[n].obj is event.obj and self.events[n].op.name in givers
                )
        access = event.op.access.name
        if access in ("ACQUIRE", "ACQ_REL") and (access == "ACQUIRE" or "acquires" in self._orders(event)):
            self.direct[at].update(self._released(at, event))

    @staticmethod
    def _orders(event: Event) -> set[str]:
        name = event.op.name
        if not name.startswith("atomic"):
            return {"acquires", "releases"}
        return {
            "atomic": {"acquires", "releases"},
            "atomic_acquire": {"acquires"},
            "atomic_release": {"releases"},
        }.get(name, set())

    def _released(self, at: int, event: Event) -> list[int]:
        """The releases that an acquire reads from: back over read-modify-writes to the store."""
        found = []
        for n in range(at - 1, -1, -1):
            other = self.events[n]
            if other.obj is not event.obj or other.op.field != event.op.field:
                continue
            access = other.op.access.name
            if access in ("WRITE", "WRITE_ONCE"):
                break
            if access == "RELEASE":
                found.append(n)
                break
            if access == "ACQ_REL" and "releases" in self._orders(other):
                found.append(n)
        return found

    # -- RCU ----------------------------------------------------------------------------------------------------------

    def _readers(self, flavour: str, obj: Any) -> list[tuple[str, int, int]]:
        """Task, begin and end of each outermost reader of a domain; stretches that overlap are one."""
        found = []
        depth: dict[str, int] = {}
        since: dict[str, int] = {}
        for at, event in enumerate(self.events):
            change = 0
            name = event.op.name
            if flavour == "rcu":
                if name in ("rcu_read_lock", "rcu_read_unlock"):
                    change = 1 if name.endswith("_lock") and "un" not in name else -1
                elif name.endswith("_callback"):
                    change = 1
                elif name.endswith("_callback_done"):
                    # A callback runs as in a softirq, so later grace periods wait for it.
                    change = -1
                elif event.op.region:
                    change = _region(event)
            elif event.obj is obj:
                begins, ends = ("srcu_read_lock", "srcu_down_read"), ("srcu_read_unlock", "srcu_up_read")
                change = (name in begins) - (name in ends)
            if change:
                was = depth.get(event.task, 0)
                now = depth[event.task] = was + change
                if was == 0 and now > 0:
                    since[event.task] = at
                elif now == 0 and was > 0:
                    found.append((event.task, since.pop(event.task), at))
        found += [(task, begin, len(self.events)) for task, begin in since.items()]
        return found

    def _grace_periods(self) -> None:
        """Each grace period that somebody has seen the end of."""
        for begin, end, flavour, obj, is_own in self._periods():
            for task, first, final in self._readers(flavour, obj):
                last = min(final, len(self.events) - 1)
                if first < begin and final < end:
                    (self.direct if is_own else self.late)[end].add(final)
                elif final < end:
                    # It need not have been waited for; docs/rcu.md says that it counts all the same.
                    self.late[end].add(final)
                elif first > begin and final > end:
                    for n in range(first, last + 1):
                        if self.events[n].task == task:
                            (self.direct if n > end and is_own else self.late)[n].add(begin)
            (self.direct if is_own else self.late)[end].add(begin)

    def _periods(self) -> list[tuple[int, int, str, Any, bool]]:
        """Begin, end, domain, and whether it is the very grace period whose end it is: earlier ones are over, too."""
        found = []
        for end, event in enumerate(self.events):
            polled = event.op.name.startswith("poll_state_synchronize") and event.result
            if event.op.name not in _ENDS and not polled:
                continue
            flavour = "srcu" if "srcu" in event.op.name else "rcu"
            own = self._own_begin(end, event)
            for begin in range(end):
                other = self.events[begin]
                if other.obj is event.obj and other.op.name in _BEGINS and (own is None or begin <= own):
                    found.append((begin, end, flavour, event.obj, begin == own))
        return found

    def _own_begin(self, at: int, end: Event) -> int | None:
        """The beginning of the grace period whose end it is."""
        name = end.op.name
        before = [n for n in range(at) if self.events[n].obj is end.obj and self.events[n].op.name in _BEGINS]
        if name.endswith("_wait"):
            return max(
                (
                    n
                    for n in before
                    if self.events[n].task == end.task and "synchronize" in self.events[n].op.name
                ),
                default=None,
            )
        if name.endswith("_callback"):
            # The callbacks of a task run in the order of its calls, in one task that the first call has started.
            starter = next((parent for parent, child, _ in self.births if child == end.task), None)
            calls = [
                n
                for n in before
                if self.events[n].task == starter and self.events[n].op.name.startswith("call_")
            ]
            ran = sum(
                1 for n in range(at) if self.events[n].task == end.task and self.events[n].op.name == name
            )
            return calls[ran] if ran < len(calls) else None
        if name.endswith("_over"):
            # Only passes on what the poll before it has seen; who has ended since may count, too.
            return None
        cookies = [
            n for n in before if "start_poll" in self.events[n].op.name and self.events[n].result == end.arg
        ]
        return max(cookies, default=None)

    # -- timers -------------------------------------------------------------------------------------------------------

    def _timers(self) -> None:
        """Who finds a timer pending knows what was done before it was set, and so does its function.

        Kernel: lock_timer_base() in kernel/time/timer.c; who finds nothing pending may not have taken it.
        """
        touches = ("mod_timer", "del_timer", "del_timer_sync")
        pending: dict[int, int] = {}
        """For each timer that is set: when it is due."""
        sets: list[int] = []
        locked: list[int] = []
        for at, event in enumerate(self.events):
            name = event.op.name
            if name == "timer_fires":
                pending.pop(id(event.result), None)
                for n in sets:
                    (self.direct if self.events[n].arg[0] is event.result else self.late)[at].add(n)
            elif name == "schedule_timeout":
                sets.append(at)
            elif name in touches and event.op.effect is not None:
                timer, due = event.arg if name == "mod_timer" else (event.arg, None)
                was = pending.get(id(timer))
                # Who finds it as it should be takes no lock: del_timer() of one that is not set, __mod_timer() of one
                # that is due then anyway. del_timer_sync() always does.
                locks = name == "del_timer_sync" or due != was
                for n in range(at):
                    other = self.events[n]
                    if n in sets and other.arg[0] is timer and was is not None and due != was:
                        self.direct[at].add(n)
                    elif n in locked and locks:
                        self.late[at].add(n)
                    elif other.op.name == "timer_ran" and name == "del_timer_sync":
                        self.direct[at].add(n)
                pending.pop(id(timer), None)
                if locks:
                    locked.append(at)
                if due is not None:
                    pending[id(timer)] = due
                    if locks:
                        sets.append(at)

    # -- races --------------------------------------------------------------------------------------------------------

    def _before(self, edges: list[list[set[int]]]) -> list[int]:
        """For each event those before it, as bits."""
        found: list[int] = []
        for at in range(len(self.events)):
            bits = 0
            for kind in edges:
                for n in kind[at]:
                    bits |= found[n] | 1 << n
            found.append(bits)
        return found

    def races(self) -> Races:
        """Each access that races with an earlier one."""
        surely, at_most = self._before([self.direct, self.late]), self._before([self.direct])
        racing, maybe = [], []
        for at, event in enumerate(self.events):
            if not event.op.tracked:
                continue
            for n in range(at):
                other = self.events[n]
                if not (
                    other.op.tracked
                    and other.obj is event.obj
                    and other.op.field == event.op.field
                    and other.task != event.task
                    and (_writes(event) or _writes(other))
                    and (_plain(event) or _plain(other))
                ):
                    continue
                if not surely[at] >> n & 1:
                    racing.append(at)
                elif not at_most[at] >> n & 1:
                    maybe.append(at)
        return Races(racing, maybe)


def _region(event: Event) -> int:
    """Whether preemption goes off or on once more; an attempt that failed changes nothing."""
    name = event.op.name
    if name.endswith("trylock"):
        return int(bool(event.result))
    if name in ("local_irq_disable",):
        return 1
    if name.endswith(("unlock", "enable", "exit", "end")):
        return -1
    return 1


def _writes(event: Event) -> bool:
    return event.op.access.name in ("WRITE", "WRITE_ONCE", "RELEASE", "ACQ_REL")


def _plain(event: Event) -> bool:
    return event.op.access.name in ("READ", "WRITE")
