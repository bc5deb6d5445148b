"""The kernel's memory model as axioms, for litmus tests: candidate executions are made and judged one by one.

The relations are those of tools/memory-model/linux-kernel.{def,bell,cat} and lock.cat, v6.6. Nothing is shared with
what searches the tests but the parser. `loads_wait` adds what ours has in addition: a write depends on every earlier
read of its process, so there is no load buffering.

A relation is a list of rows, one for each event, whose bits are the events that it is related to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any

from sugarbush.stress.litmus.source import Litmus

Rows = list[int]
_ATOMIC = re.compile(
    r"(?:(atomic|atomic_long)_)?(fetch_)?(add|sub|inc|dec|and|or|xor|andnot|xchg|cmpxchg)"
    r"(_return|_and_test|_negative|_unless)?(_acquire|_release|_relaxed)?"
)


@dataclass(slots=True)
class Event:
    """One event of a process: ``R``, ``W`` or ``F`` with its tags; `feeds` are reads by their number in the process."""

    kind: str
    place: str = ""
    value: Any = 0
    tags: frozenset[str] = frozenset()
    addr: frozenset[int] = frozenset()
    data: frozenset[int] = frozenset()
    ctrl: frozenset[int] = frozenset()
    rmw: bool = False
    """It is the write of a read-modify-write, whose read comes right before it."""
    partner: int = -1
    """For the end of an SRCU reader: the event that began it."""


class _Stuck(Exception):
    """A read-modify-write does not do what this candidate has decided."""


@dataclass(slots=True)
class Trace:
    """What a process does if its reads return what was decided."""

    events: list[Event] = field(default_factory=list)
    registers: dict[str, Any] = field(default_factory=dict)


class _Run:
    """One process, whose reads return what `decided` says, one after the other; `asks` is where a further one reads."""

    def __init__(self, names: set[str], first: dict[str, Any], decided: tuple[Any, ...]) -> None:
        self.names = names
        self.trace = Trace(registers=dict(first))
        self.feeds: dict[str, frozenset[int]] = {}
        self.decided = list(decided)
        self.asks: tuple[str, str] | None = None
        self.ctrl: frozenset[int] = frozenset()
        self.own: set[str] = set()

    def add(self, kind: str, place: str = "", value: Any = 0, **how: Any) -> int:
        tags = frozenset(how.pop("tags", ()))
        self.trace.events.append(Event(kind, place, value, tags, ctrl=self.ctrl, **how))
        return len(self.trace.events) - 1

    def decide(self, kind: str, place: str) -> Any:
        if not self.decided:
            self.asks = (kind, place)
            raise _Stuck
        return self.decided.pop(0)

    # -- statements

    def run(self, node: Any) -> None:
        kind = node[0]
        if kind == "block":
            for inner in node[1]:
                self.run(inner)
        elif kind == "declare":
            for name, value, _, _ in node[1]:
                self.own.add(name)
                if value is not None:
                    self.set(name, self.value(value))
        elif kind == "assign":
            assert node[1][0] == "name", "plain accesses are not judged here"
            self.set(node[1][1], self.value(node[2]))
        elif kind == "do":
            self.value(node[1])
        else:
            _, condition, then, otherwise, _ = node
            value, feeds = self.value(condition)
            before, self.ctrl = self.ctrl, self.ctrl | feeds
            if value not in (0, False):
                self.run(then)
            elif otherwise is not None:
                self.run(otherwise)
            self.ctrl = before

    def set(self, name: str, made: tuple[Any, frozenset[int]]) -> None:
        self.trace.registers[name], self.feeds[name] = made

    # -- expressions

    def value(self, node: Any) -> tuple[Any, frozenset[int]]:
        kind = node[0]
        if kind == "number":
            return node[1], frozenset()
        if kind == "name":
            if node[1] in self.names and node[1] not in self.own and node[1] not in self.trace.registers:
                return "&" + node[1], frozenset()
            return self.trace.registers.get(node[1], 0), self.feeds.get(node[1], frozenset())
        if kind == "address":
            return self.value(node[1])
        if kind == "call":
            return self.call(node[1], node[2])
        if kind == "unary":
            value, feeds = self.value(node[2])
            return {"!": lambda: int(not value), "-": lambda: -value, "~": lambda: ~value}[node[1]](), feeds
        assert kind == "binary", f"{kind} is not judged here"
        _, operator, left, right, _ = node
        one, led = self.value(left)
        two, fed = self.value(right)
        return _compute(operator, one, two), led | fed

    def place(self, node: Any) -> tuple[str, frozenset[int]]:
        value, feeds = self.value(node[1] if node[0] == "load" else node)
        assert isinstance(value, str), "a NULL pointer is not judged here"
        return value[1:], feeds

    # -- calls

    def call(self, name: str, given: Any) -> tuple[Any, frozenset[int]]:
        none: frozenset[int] = frozenset()
        fences = {
            "smp_mb": "mb",
            "smp_rmb": "rmb",
            "smp_wmb": "wmb",
            "smp_mb__before_atomic": "before-atomic",
            "smp_mb__after_atomic": "after-atomic",
            "smp_mb__after_spinlock": "after-spinlock",
            "smp_mb__after_unlock_lock": "after-unlock-lock",
            "smp_mb__after_srcu_read_unlock": "after-srcu",
            "rcu_read_lock": "rcu-lock",
            "rcu_read_unlock": "rcu-unlock",
            "synchronize_rcu": "sync-rcu",
        }
        if name in fences:
            self.add("F", tags=(fences[name],))
            return 0, none
        if name in ("READ_ONCE", "smp_load_acquire", "rcu_dereference", "atomic_read", "atomic_read_acquire"):
            place, addr = self.place(given[0])
            value = self.decide("R", place)
            tags = ("acquire",) if name.endswith("acquire") else ()
            return value, frozenset((self.add("R", place, value, tags=tags, addr=addr),))
        if name in (
            "WRITE_ONCE", "smp_store_release", "rcu_assign_pointer", "atomic_set", "atomic_set_release", "smp_store_mb",
        ):  # fmt: skip
            place, addr = self.place(given[0])
            value, data = self.value(given[1])
            tags = ("release",) if "release" in name or name.startswith("rcu") else ()
            self.add("W", place, value, tags=tags, addr=addr, data=data)
            if name == "smp_store_mb":
                self.add("F", tags=("mb",))
            return 0, none
        if name.startswith("spin"):
            return self.lock(name, self.place(given[0])[0]), none
        if name.startswith(("srcu", "synchronize_srcu")):
            return self.srcu(name, given)
        return self.modify(name, given)

    def lock(self, name: str, place: str) -> int:
        held = 1
        if name == "spin_unlock":
            self.add("W", place, 0, tags=("UL", "release"))
            return 0
        if name == "spin_is_locked":
            value: int = self.decide("L", place)
            self.add("R", place, value)
            return value
        if name == "spin_trylock":
            held = 1 - self.decide("L", place)
        if held:
            self.add("R", place, 0, tags=("LKR", "acquire"))
            self.add("W", place, 1, tags=("LKW",), rmw=True)
        else:
            self.add("R", place, 1)
        return held

    def srcu(self, name: str, given: Any) -> tuple[Any, frozenset[int]]:
        place, _ = self.place(given[0])
        if name == "synchronize_srcu":
            self.add("F", place, tags=("sync-srcu",))
        elif name == "srcu_read_lock":
            return ("cookie", self.add("F", place, tags=("srcu-lock",))), frozenset()
        else:
            cookie, _ = self.value(given[1])
            assert cookie[0] == "cookie"
            self.add("F", place, tags=("srcu-unlock",), partner=cookie[1])
        return 0, frozenset()

    def modify(self, name: str, given: Any) -> tuple[Any, frozenset[int]]:
        match = _ATOMIC.fullmatch(name)
        assert match is not None, f"{name}() is not judged here"
        prefix, fetches, operation, tail, order = match.groups()
        silent = not (fetches or tail) and operation not in ("xchg", "cmpxchg")
        backwards = prefix is not None and operation not in ("xchg", "cmpxchg") and tail != "_unless"
        at = given[1 if backwards and operation not in ("inc", "dec") else 0]
        rest = [part for part in given if part is not at]
        place, addr = self.place(at)
        values = [self.value(part) for part in rest]
        old = self.decide("R", place)
        new, result = _changed(operation, tail, bool(fetches), old, [value for value, _ in values])
        full = not silent and not order
        data = values[-1][1] if operation == "cmpxchg" else frozenset().union(*[feeds for _, feeds in values])
        if new is None:
            read = self.add("R", place, old, addr=addr)
            return result, frozenset((read,))
        if full:
            self.add("F", tags=("mb",))
        tags = {"noreturn"} if silent else {"acquire"} if order == "_acquire" else set()
        read = self.add("R", place, old, tags=tags, addr=addr)
        self.add(
            "W", place, new, tags=("release",) if order == "_release" else (), addr=addr, data=data, rmw=True
        )
        if full:
            self.add("F", tags=("mb",))
        return result, frozenset((read,))


def _compute(operator: str, one: Any, two: Any) -> Any:
    if operator in ("==", "!="):
        return int((one == two) is (operator == "=="))
    if isinstance(one, str) or isinstance(two, str):
        # Only what leaves an address as it is: x + 0, r ^ r.
        if operator in ("+", "|", "^") and 0 in (one, two):
            return one if two == 0 else two
        assert one == two or 0 in (one, two)
        return 0
    return {
        "+": lambda: one + two, "-": lambda: one - two, "*": lambda: one * two, "&": lambda: one & two,
        "|": lambda: one | two, "^": lambda: one ^ two, "<": lambda: int(one < two), ">": lambda: int(one > two),
        "<=": lambda: int(one <= two), ">=": lambda: int(one >= two),
        "&&": lambda: int(bool(one) and bool(two)), "||": lambda: int(bool(one) or bool(two)),
    }[operator]()  # fmt: skip


def _changed(operation: str, tail: str | None, fetches: bool, old: Any, given: list[Any]) -> tuple[Any, Any]:
    """What is written (None: nothing) and what the call gives."""
    if operation == "xchg":
        return given[0], old
    if operation == "cmpxchg":
        return (given[1] if old == given[0] else None), old
    if tail == "_unless":
        return (None, 0) if old == given[1] else (old + given[0], 1)
    n = {"inc": 1, "dec": -1}.get(operation, given[0] if given else 0)
    if operation == "sub":
        n = -n
    new = {"and": old & n, "or": old | n, "xor": old ^ n, "andnot": old & ~n}.get(operation, old + n)
    if tail == "_and_test":
        return new, int(new == 0)
    if tail == "_negative":
        return new, int(new < 0)
    return new, old if fetches or not tail else new


def traces(test: Litmus, domains: dict[str, set[Any]]) -> list[list[Trace]]:
    """For each process what it may do, if each read may return any value of its place."""
    tree = test.tree
    names = {name for process in tree.processes for _, name, _ in process.parameters}
    names |= {init.name for init in tree.init if init.process is None}
    names |= {init.value for init in tree.init if isinstance(init.value, str)}
    found = []
    for process in tree.processes:
        first = {init.name: _address(init.value) for init in tree.init if init.process == process.number}
        made: list[Trace] = []
        open_: list[tuple[Any, ...]] = [()]
        while open_:
            decided = open_.pop()
            run = _Run(names, first, decided)
            try:
                run.run(process.body)
            except _Stuck:
                assert run.asks is not None
                kind, place = run.asks
                values = (0, 1) if kind == "L" else sorted(domains.setdefault(place, {0}), key=repr)
                open_ += [(*decided, value) for value in values]
            else:
                made.append(run.trace)
        found.append(made)
    return found


def _address(value: Any) -> Any:
    return "&" + value if isinstance(value, str) else value or 0


def _settled(test: Litmus) -> tuple[list[list[Trace]], dict[str, Any]]:
    """The traces, once no read may return anything else; and the initial values."""
    initial = {init.name: _address(init.value) for init in test.tree.init if init.process is None}
    domains: dict[str, set[Any]] = {}
    for name, value in initial.items():
        domains[name] = {value}
    for _ in range(8):
        size = sum(map(len, domains.values()))
        found = traces(test, domains)
        for trace in (trace for made in found for trace in made):
            for event in trace.events:
                if event.kind == "W":
                    domains.setdefault(event.place, {initial.get(event.place, 0)}).add(event.value)
        if sum(map(len, domains.values())) == size:
            break
    return found, initial


# -- relations ------------------------------------------------------------------------------------------------------


def _compose(one: Rows, other: Rows) -> Rows:
    made = []
    for row in one:
        left, out = row, 0
        while left:
            low = left & -left
            out |= other[low.bit_length() - 1]
            left ^= low
        made.append(out)
    return made


def _union(*relations: Rows) -> Rows:
    made = [0] * len(relations[0])
    for rows in relations:
        for at, row in enumerate(rows):
            made[at] |= row
    return made


def _plus(rows: Rows) -> Rows:
    made = rows.copy()
    for middle, _ in enumerate(made):
        through = made[middle]
        bit = 1 << middle
        for at, row in enumerate(made):
            if row & bit:
                made[at] = row | through
    return made


def _reflexive(rows: Rows) -> Rows:
    return [row | 1 << at for at, row in enumerate(rows)]


def _inverse(rows: Rows) -> Rows:
    made = [0] * len(rows)
    for at, row in enumerate(rows):
        for other in range(len(rows)):
            if row >> other & 1:
                made[other] |= 1 << at
    return made


def _cut(rows: Rows, left: int, right: int) -> Rows:
    return [row & right if left >> at & 1 else 0 for at, row in enumerate(rows)]


def _cyclic(rows: Rows) -> bool:
    return any(row >> at & 1 for at, row in enumerate(_plus(rows)))


class Candidate:
    """The events of one trace for each process, the initial writes first, and all that no read or order changes."""

    def __init__(self, chosen: list[Trace], initial: dict[str, Any], *, loads_wait: bool) -> None:
        self.loads_wait = loads_wait
        places = dict.fromkeys(event.place for trace in chosen for event in trace.events if event.kind != "F")
        self.events = [Event("W", place, initial.get(place, 0), frozenset(("IW",))) for place in places]
        self.process = [-1] * len(self.events)
        dependencies: list[tuple[str, int, int]] = []
        rmws: list[tuple[int, int]] = []
        self.srcu: list[tuple[int, int]] = []
        for number, trace in enumerate(chosen):
            base = len(self.events)
            for at, event in enumerate(trace.events):
                self.events.append(event)
                self.process.append(number)
                for kind in ("addr", "data", "ctrl"):
                    dependencies += [(kind, base + read, base + at) for read in getattr(event, kind)]
                if event.rmw:
                    rmws.append((base + at - 1, base + at))
                if event.partner >= 0:
                    self.srcu.append((base + event.partner, base + at))
        self.size = size = len(self.events)
        everything = range(size)
        self.po = [
            sum(1 << b for b in everything if b > a and self.process[b] == self.process[a] >= 0)
            for a in everything
        ]
        self.internal = [
            sum(1 << b for b in everything if self.process[b] == self.process[a] >= 0) for a in everything
        ]
        self.loc = [
            sum(1 << b for b in everything if self.events[b].place == self.events[a].place != "")
            for a in everything
        ]
        self.reads = self._set(lambda event: event.kind == "R")
        self.writes = self._set(lambda event: event.kind == "W")
        self.memory = self.reads | self.writes
        self.addr, self.data, self.ctrl, self.rmw = ([0] * size for _ in range(4))
        for kind, a, b in dependencies:
            getattr(self, kind)[a] |= 1 << b
        for a, b in rmws:
            self.rmw[a] |= 1 << b
        self._fixed()

    def _set(self, has: Any) -> int:
        return sum(1 << at for at, event in enumerate(self.events) if has(event))

    def tagged(self, tag: str) -> int:
        return self._set(lambda event: tag in event.tags)

    def _fence(self, left: int, tag: str, right: int) -> Rows:
        fence = self.tagged(tag)
        return _cut(_compose(_cut(self.po, left, fence), self.po), left, right)

    def _fixed(self) -> None:
        po, memory, everything = self.po, self.memory, (1 << self.size) - 1
        maybe = _reflexive(po)
        rmw = sum(1 << at for at, row in enumerate(self.rmw) if row) | sum(self.rmw)
        lkw = self.tagged("LKW")
        self.mb = _union(
            self._fence(memory, "mb", memory),
            _compose(self._fence(memory, "before-atomic", rmw), _cut(maybe, everything, memory)),
            _compose(_cut(maybe, memory, rmw), self._fence(rmw, "after-atomic", memory)),
            _compose(_cut(maybe, memory, lkw), self._fence(lkw, "after-spinlock", memory)),
            _compose(
                _cut(po, memory, self.tagged("srcu-unlock")),
                self._fence(self.tagged("srcu-unlock"), "after-srcu", memory),
            ),
        )
        sync = self.tagged("sync-rcu") | self.tagged("sync-srcu")
        self.gp = _compose(_cut(po, everything, sync), maybe)
        heard = self.reads & ~self.tagged("noreturn")
        self.rmb = self._fence(heard, "rmb", heard)
        self.wmb = self._fence(self.writes, "wmb", self.writes)
        self.acq_po = _cut(po, self.tagged("acquire"), memory)
        self.po_rel = _cut(po, memory, self.tagged("release"))
        self.rscs = list(self.srcu)
        for number in sorted(set(self.process)):
            open_: list[int] = []
            for at, event in enumerate(self.events):
                if self.process[at] == number and "rcu-lock" in event.tags:
                    open_.append(at)
                elif self.process[at] == number and "rcu-unlock" in event.tags:
                    self.rscs.append((open_.pop(), at))

    def orders(self) -> Iterator[Rows]:
        """The coherence orders."""
        by_place: dict[str, list[int]] = {}
        for at, event in enumerate(self.events):
            if event.kind == "W":
                by_place.setdefault(event.place, []).append(at)
        for lines in product(
            *([(first, *rest) for rest in permutations(later)] for first, *later in by_place.values())
        ):
            co = [0] * self.size
            fine = True
            for line in lines:
                after = 0
                for at in reversed(line):
                    # A write that comes before an earlier one of its own process: never coherent.
                    fine = fine and not any(after >> b & 1 and self.po[b] >> at & 1 for b in line)
                    co[at] = after
                    after |= 1 << at
            if fine:
                yield co

    def sources(self) -> Iterator[Rows]:
        """From where the reads may read what they return."""
        ways = []
        for at, event in enumerate(self.events):
            if event.kind == "R":
                ways.append(
                    [
                        (write, at)
                        for write, other in enumerate(self.events)
                        if other.kind == "W"
                        and other.place == event.place
                        and other.value == event.value
                        and not self.po[at] >> write & 1
                    ]
                )
        for chosen in product(*ways):
            rf = [0] * self.size
            for write, read in chosen:
                rf[write] |= 1 << read
            yield rf

    def allowed(self, rf: Rows, co: Rows) -> bool:
        """Whether the axioms allow it."""
        po, internal, everything = self.po, self.internal, (1 << self.size) - 1
        external = [everything & ~row for row in internal]

        def both(one: Rows, other: Rows) -> Rows:
            return [a & b for a, b in zip(one, other, strict=True)]

        fr = _compose(_inverse(rf), co)
        if _cyclic(_union(both(po, self.loc), rf, co, fr)):
            return False
        if any(both(self.rmw, _compose(both(fr, external), both(co, external)))):
            return False
        rfe, rfi = both(rf, external), both(rf, internal)
        overwrite = _union(co, fr)
        unlock, lkr, lkw = self.tagged("UL"), self.tagged("LKR"), self.tagged("LKW")
        before = _cut(po, everything, unlock)
        unlock_lock = _compose(_compose(before, _cut(_union(po, rf), unlock, lkr)), po)
        after_unlock_lock = _compose(
            _compose(_cut(before, self.memory, everything), _cut(_union(po, co), unlock, lkw)),
            self._fence(lkw, "after-unlock-lock", self.memory),
        )
        mb = _union(self.mb, after_unlock_lock)
        strong = _union(mb, self.gp)
        carry = _reflexive(_plus(_compose(self.data, rfi)))
        addr, data, ctrl = (_compose(carry, rows) for rows in (self.addr, self.data, self.ctrl))
        dep = _union(addr, data)
        to_w = _union(_cut(_union(dep, ctrl), everything, self.writes), both(overwrite, internal))
        if self.loads_wait:
            to_w = _union(to_w, _cut(po, self.reads, self.writes))
        to_r = _union(_cut(addr, everything, self.reads), _compose(dep, rfi))
        fence = _union(strong, self.po_rel, self.acq_po, self.wmb, self.rmb)
        ppo = _union(to_r, to_w, fence, both(unlock_lock, internal))
        through = _compose(_reflexive(rfe), _union(strong, self.po_rel))
        sequence = _reflexive(_plus(_compose(rf, self.rmw)))
        cumul = _compose(_union(through, self.wmb, unlock_lock), sequence)
        same = [1 << at for at in range(self.size)]
        prop = _compose(
            _compose(_union(same, both(overwrite, external)), _reflexive(_plus(cumul))), _reflexive(rfe)
        )
        within = [row & ~(1 << at) for at, row in enumerate(both(prop, internal))]
        hb = _union(ppo, rfe, within)
        if _cyclic(hb):
            return False
        hbs = _reflexive(_plus(hb))
        pb = _compose(_compose(prop, strong), hbs)
        if _cyclic(pb):
            return False
        return not self.rscs or self._graces(prop, hbs, pb)

    def _graces(self, prop: Rows, hbs: Rows, pb: Rows) -> bool:
        """The rcu axiom."""
        po, maybe = self.po, _reflexive(self.po)
        pbs = _reflexive(_plus(pb))
        link = _compose(_compose(_compose(_compose(maybe, hbs), pbs), prop), po)
        graces = [0] * self.size
        for at, event in enumerate(self.events):
            if event.tags & {"sync-rcu", "sync-srcu"}:
                graces[at] = 1 << at
        readers = [0] * self.size
        for lock, unlock in self.rscs:
            readers[unlock] |= 1 << lock
        # Grace periods and readers of one domain: that of plain RCU has no place.
        domain = [
            sum(
                1 << b
                for b, other in enumerate(self.events)
                if other.kind == "F" and other.place == event.place
            )
            if event.kind == "F"
            else 0
            for event in self.events
        ]

        def pairs(middle: Rows) -> Rows:
            first = _compose(_compose(graces, middle), readers)
            second = _compose(_compose(readers, middle), graces)
            return [(a | b) & same for a, b, same in zip(first, second, domain, strict=True)]

        order = _union(graces, pairs(link))
        while True:
            more = _union(
                order, pairs(_compose(_compose(link, order), link)), _compose(_compose(order, link), order)
            )
            if more == order:
                break
            order = more
        rb = _compose(_compose(_compose(_compose(_compose(prop, po), order), maybe), hbs), pbs)
        return not any(row >> at & 1 for at, row in enumerate(rb))


def final_states(test: Litmus, *, loads_wait: bool) -> set[tuple[Any, ...]]:
    """What the test asks for, in the order in which it does, in each execution that passes its filter."""
    found, initial = _settled(test)
    asked = asked_for(test)
    states: set[tuple[Any, ...]] = set()
    numbers = {process.number: at for at, process in enumerate(test.tree.processes)}
    for chosen in product(*found):
        candidate = Candidate(list(chosen), initial, loads_wait=loads_wait)
        orders = list(candidate.orders())
        for rf in candidate.sources():
            for co in orders:
                last = {
                    event.place: event.value
                    for at, event in enumerate(candidate.events)
                    if event.kind == "W" and not co[at]
                }

                def value(place: Any, last: dict[str, Any] = last, chosen: Any = chosen) -> Any:
                    process, name = place
                    if process is None:
                        found = last.get(name, initial.get(name, 0))
                    else:
                        found = chosen[numbers[process]].registers.get(name, 0)
                    return found[1:] if isinstance(found, str) else found

                filters = [clause.says for clause in test.tree.clauses if clause.kind == "filter"]
                state = tuple(value(place) for place in asked)
                if (state in states and not filters) or not all(holds(says, value) for says in filters):
                    continue
                if candidate.allowed(rf, co):
                    states.add(state)
    return states


def asked_for(test: Litmus) -> list[tuple[int | None, str]]:
    """The places that the clauses name, each once, in their order."""
    found: dict[tuple[int | None, str], None] = {}

    def look(says: Any) -> None:
        if says[0] == "equal":
            found[says[1]] = None
            if isinstance(says[2], tuple):
                found[says[2]] = None
        elif says[0] == "not":
            look(says[1])
        elif says[0] in ("and", "or"):
            for part in says[1]:
                look(part)

    for clause in test.tree.clauses:
        if clause.kind == "locations":
            found.update(dict.fromkeys(place for place, _ in clause.says))
        else:
            look(clause.says)
    return list(found)


def holds(says: Any, value: Any) -> bool:
    """Whether a proposition holds in a final state."""
    kind = says[0]
    if kind == "equal":
        wanted = value(says[2]) if isinstance(says[2], tuple) else says[2]
        return bool(value(says[1]) == wanted)
    if kind in ("true", "false"):
        return bool(kind == "true")
    if kind == "not":
        return not holds(says[1], value)
    return (all if kind == "and" else any)(holds(part, value) for part in says[1])


def observed(test: Litmus, states: set[tuple[Any, ...]]) -> str:
    """What herd7 would call the observation."""
    says = next(clause.says for clause in test.tree.clauses if clause.kind in ("exists", "~exists", "forall"))
    asked = asked_for(test)
    answers = {holds(says, dict(zip(asked, state, strict=True)).__getitem__) for state in states}
    if True not in answers:
        return "Never"
    return "Sometimes" if False in answers else "Always"
