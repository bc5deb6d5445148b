"""Whether a small program has a data race by definition: all its executions as relations, none of them run.

The relations are those of tools/memory-model/linux-kernel.cat, v6.6, for a machine that is sequentially consistent: a
grace period is a pair of events (its begin, its end), a reader another one, and `rcu-order` is built from them as
there. What the engine does when (which reader a grace period finds, what is known when) is nowhere in here.

A program is a list of tasks, a task a list of instructions. What follows a guard ("if", "poll", "try", "del") in its
task is done only if the guard holds.

    ("R", d) ("W", d)              plain accesses, the only ones that can race
    ("put", f, value, "once" or "release")
    ("if", f, value, "once" or "acquire")
    ("in", kind, body)             a reader: rcu, preempt, irq, bh, own (a spinlock of the task's own)
    ("lock", body)                 the spinlock of all, which is a reader, too
    ("sync",) ("call", body)       synchronize_rcu(), call_rcu() with what the callback does
    ("start",) ("poll",)           start_poll_synchronize_rcu(), and poll_state_synchronize_rcu() of that cookie
    ("complete",) ("try",)         of one completion
    ("arm",) ("del",)              mod_timer() of one timer whose function does nothing, del_timer()

A timer that has fired is not pending, so what follows its deletion is not done: that it may fire needs no event.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, permutations, product
from typing import Any

Instruction = tuple[Any, ...]
Run = list[tuple[Any, ...]]
"""What one thread does in one execution: its events, in order."""


class _Stop(Exception):
    """A guard does not hold."""


def runs(task: list[Instruction]) -> Iterator[tuple[Run, list[Run]]]:
    """Each way in which the guards of a task can turn out: its events, and those of its callbacks."""
    seen = []
    for outcome in product([True, False], repeat=_guards(task)):
        left = list(outcome)
        run: Run = []
        calls: list[Any] = []
        try:
            _run(task, run, calls, left, 0)
        except _Stop:
            pass
        if True in left:
            continue  # the guards after one that does not hold are asked nothing; one way to say so is enough
        for callbacks in product(*(list(_callback(*call)) for call in calls)):
            if (run, list(callbacks)) not in seen:
                seen.append((run, list(callbacks)))
                yield run, list(callbacks)


def _guards(body: list[Instruction]) -> int:
    found = 0
    for what, *rest in body:
        found += what in ("if", "poll", "try", "del")
        if what in ("in", "lock"):
            found += _guards(rest[-1])
    return found


def _callback(grace: object, body: list[Instruction]) -> Iterator[Run]:
    for run, _ in runs([("in", "bh", body)]):
        yield [("e", grace), ("mb",), *run]


def _run(body: list[Instruction], run: Run, calls: list[Any], left: list[bool], depth: int) -> None:
    for what, *rest in body:
        if what in ("in", "lock"):
            if depth == 0:
                run.append(("l",))
            if what == "lock":
                run.append(("take",))
            try:
                _run(rest[-1], run, calls, left, depth + 1)
            finally:
                if what == "lock":
                    run.append(("give",))
                if depth == 0:
                    run.append(("u",))
        elif what == "if":
            holds = left.pop(0)
            run.append(("get", *rest, holds))
            if not holds:
                raise _Stop
        elif what in ("poll", "try", "del"):
            if not left.pop(0):
                raise _Stop
            run += [("e", run_cookie(run)), ("mb",)] if what == "poll" else [(what,)]
        elif what in ("sync", "call", "start"):
            grace = object()
            run += [("mb",), ("b", grace, what)]
            if what == "sync":
                run += [("e", grace), ("mb",)]
            if what == "call":
                calls.append((grace, rest[0]))
        else:
            run.append((what, *rest))


def run_cookie(run: Run) -> object:
    """The grace period that was started last."""
    return [event[1] for event in run if event[0] == "b" and event[2] == "start"][-1]


def has_race(tasks: list[list[Instruction]]) -> bool:
    """Some execution has two plain accesses that nothing orders."""
    for chosen in product(*(list(runs(task)) for task in tasks)):
        threads = [run for run, _ in chosen]
        # The callbacks of one task are called in the order of its calls.
        threads += [[event for call in calls for event in call] for _, calls in chosen if calls]
        if any(_races(threads)):
            return True
    return False


def _orders(events: list[int], fits: Any) -> Iterator[tuple[int, ...]]:
    for order in permutations(events):
        if fits(order):
            yield order


def _races(threads: list[Run]) -> Iterator[bool]:
    """For each execution of these events: whether it has a race."""
    events = [(n, event) for n, run in enumerate(threads) for event in run]
    kind = [event[0] for _, event in events]

    def all_of(*kinds: str) -> list[int]:
        return [at for at, what in enumerate(kind) if what in kinds]

    flags = sorted({event[1] for _, event in events if event[0] in ("put", "get")})
    writes = {flag: [at for at in all_of("put") if events[at][1][1] == flag] for flag in flags}
    gets = all_of("get")
    sources = []
    for at in gets:
        _, flag, value, _, holds = events[at][1]
        fits = [w for w in writes[flag] if (events[w][1][2] == value) is holds]
        sources.append([*fits, *([-1] if (value == 0) is holds else [])])
    takes = [(at, kind.index("give", at)) for at in all_of("take")]
    thread = [n for n, _ in events]

    def completes(order: tuple[int, ...]) -> bool:
        return all(
            sum(kind[o] == "complete" for o in order[:n]) > sum(kind[o] == "try" for o in order[:n])
            for n, at in enumerate(order)
            if kind[at] == "try"
        )

    def deletes(order: tuple[int, ...]) -> bool:
        pending = False
        for at in order:
            if kind[at] == "del" and not pending:
                return False
            pending = kind[at] == "arm"
        return True

    for cos in product(*(permutations(writes[flag]) for flag in flags)):
        for froms in product(*sources):
            for locks in permutations(takes):
                for done in _orders(all_of("complete", "try"), completes):
                    for armed in _orders(all_of("arm", "del"), deletes):
                        read = dict(zip(gets, froms, strict=True))
                        yield _has_race(events, thread, kind, cos, read, locks, done, armed)


def _has_race(
    events: list[Any],
    thread: list[int],
    kind: list[str],
    cos: tuple[tuple[int, ...], ...],
    froms: dict[int, int],
    locks: tuple[tuple[int, int], ...],
    done: tuple[int, ...],
    armed: tuple[int, ...],
) -> bool:
    count = len(events)
    po = {(a, a + 1) for a in range(count - 1) if thread[a] == thread[a + 1]}
    communicates = set(po)
    known = set(po)
    for co in cos:
        communicates |= {(a, b) for n, b in enumerate(co) for a in co[:n]}
    for get, put in froms.items():
        flag = events[get][1][1]
        order = next((co for co in cos if co and events[co[0]][1][1] == flag), ())
        later = order if put < 0 else order[order.index(put) + 1 :]
        communicates |= {(get, w) for w in later}
        if put >= 0:
            communicates.add((put, get))
            tells = put if events[put][1][3] == "release" else _barrier(kind, thread, put, -1)
            hears = get if events[get][1][3] == "acquire" else _barrier(kind, thread, get, 1)
            if tells is not None and hears is not None:
                known.add((tells, hears))
    for (_, gave), (took, _) in pairwise(locks):
        known.add((gave, took))
    known |= {
        (a, b) for n, b in enumerate(done) if kind[b] == "try" for a in done[:n] if kind[a] == "complete"
    }
    known |= {(a, b) for n, b in enumerate(armed) for a in armed[:n]}
    communicates |= known | {(a, b) for n, b in enumerate(done) for a in done[:n]}
    link = closed(communicates, count)
    if any(link[at] >> at & 1 for at in range(count)):
        return False
    for at in range(count):
        link[at] |= 1 << at
    order = _rcu_order(events, kind, link)
    if any(link[y] >> x & 1 for x, y in order):
        return False
    before = closed(known | order, count)
    plain = [at for at in range(count) if kind[at] in ("R", "W")]
    return any(
        events[a][1][1] == events[b][1][1]
        and "W" in (kind[a], kind[b])
        and thread[a] != thread[b]
        and not before[a] >> b & 1
        and not before[b] >> a & 1
        for n, b in enumerate(plain)
        for a in plain[:n]
    )


def _barrier(kind: list[str], thread: list[int], at: int, step: int) -> int | None:
    """The nearest full barrier before or after an event of its thread."""
    here = at + step
    while 0 <= here < len(kind) and thread[here] == thread[at]:
        if kind[here] == "mb":
            return here
        here += step
    return None


def closed(pairs: set[tuple[int, int]], count: int) -> list[int]:
    """The transitive closure: for each event a set of events, as bits."""
    after = [0] * count
    for a, b in pairs:
        after[a] |= 1 << b
    for middle in range(count):
        bit, more = 1 << middle, after[middle]
        for a in range(count):
            if after[a] & bit:
                after[a] |= more
    return after


def _rcu_order(events: list[Any], kind: list[str], link: list[int]) -> set[tuple[int, int]]:
    """`rcu-order`: as many grace periods as readers, linked to each other, begin and end with either."""
    ends: dict[object, list[int]] = {}
    for at, (_, event) in enumerate(events):
        if event[0] == "e":
            ends.setdefault(event[1], []).append(at)
    graces = [
        (at, end) for at, (_, event) in enumerate(events) if event[0] == "b" for end in ends.get(event[1], ())
    ]
    readers = [(kind.index("u", at), at) for at, what in enumerate(kind) if what == "l"]

    def linked(a: int, b: int) -> bool:
        return bool(link[a] >> b & 1)

    order = set(graces)
    while True:
        more = {(b, o) for b, e in graces for u, o in readers if linked(e, u)}
        more |= {(u, e) for b, e in graces for u, o in readers if linked(o, b)}
        for x, y in order:
            more |= {(b, o) for b, e in graces for u, o in readers if linked(e, x) and linked(y, u)}
            more |= {(u, e) for b, e in graces for u, o in readers if linked(o, x) and linked(y, b)}
            more |= {(x, z) for w, z in order if linked(y, w)}
        if more <= order:
            return order
        order |= more
