"""The kernel's memory model as axioms, by enumeration: what a small program may see.

The definitions are those of tools/memory-model/linux-kernel.cat, v6.6, without RCU and locks. One is added: a write
depends on every earlier read of its task, so there is no load buffering.
"""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

Instruction = tuple[Any, ...]
"""``("R", place)``, ``("RA", place)``, ``("W", place, value)``, ``("WR", place, value)``, ``("X", place, value)`` (a
relaxed exchange), ``("mb",)``, ``("wmb",)``, ``("rmb",)``. Values are not 0 and differ."""
Pairs = set[tuple[int, int]]


def compose(one: Pairs, two: Pairs) -> Pairs:
    after: dict[int, list[int]] = {}
    for a, b in two:
        after.setdefault(a, []).append(b)
    return {(a, c) for a, b in one for c in after.get(b, ())}


def star(pairs: Pairs, events: range) -> Pairs:
    closed = {(e, e) for e in events} | pairs
    while True:
        more = closed | compose(closed, closed)
        if more == closed:
            return closed
        closed = more


def cyclic(pairs: Pairs, events: range) -> bool:
    return any(a == b for a, b in compose(pairs, star(pairs, events)))


class Execution:
    """The events of a program: the first are the initial writes, one for each place."""

    def __init__(self, tasks: list[list[Instruction]], places: str) -> None:
        self.kind = ["W"] * len(places)
        self.place = list(places)
        self.value: list[int] = [0] * len(places)
        self.task = [-1] * len(places)
        self.acquires, self.releases = set[int](), set[int]()
        self.po, self.rmw = set[tuple[int, int]](), set[tuple[int, int]]()
        self.fences: dict[str, Pairs] = {"mb": set(), "wmb": set(), "rmb": set()}
        for number, body in enumerate(tasks):
            before: list[int] = []
            passed: list[tuple[str, list[int]]] = []
            for what, *rest in body:
                if what in self.fences:
                    passed.append((what, list(before)))
                    continue
                for kind in {"X": "RW"}.get(what, what[0]):
                    event = len(self.kind)
                    self.kind.append(kind)
                    self.place.append(rest[0])
                    self.value.append(rest[1] if kind == "W" else -1)
                    self.task.append(number)
                    self.po |= {(e, event) for e in before}
                    for fence, earlier in passed:
                        self.fences[fence] |= {(e, event) for e in earlier}
                    if what == "X" and kind == "W":
                        self.rmw.add((event - 1, event))
                    if what == "RA":
                        self.acquires.add(event)
                    if what == "WR":
                        self.releases.add(event)
                    before.append(event)
        self.events = range(len(self.kind))
        self.reads = [e for e in self.events if self.kind[e] == "R"]
        self.writes = [e for e in self.events if self.kind[e] == "W"]

    def outcomes(self) -> set[tuple[Any, ...]]:
        """For each execution that the axioms allow: what the reads return, and the last values."""
        initial = len(set(self.place))
        mine = {p: [w for w in self.writes[initial:] if self.place[w] == p] for p in self.place[:initial]}
        found = set()
        for orders in product(*(permutations(mine[p]) for p in self.place[:initial])):
            lines = [[first, *order] for first, order in enumerate(orders)]
            co = {(line[i], line[j]) for line in lines for j in range(len(line)) for i in range(j)}
            for sources in product(
                *([w for w in self.writes if self.place[w] == self.place[r]] for r in self.reads)
            ):
                rf = set(zip(sources, self.reads, strict=True))
                result = (*(self.value[w] for w in sources), *(self.value[line[-1]] for line in lines))
                if result not in found and self._allowed(rf, co):
                    found.add(result)
        return found

    def _allowed(self, rf: Pairs, co: Pairs) -> bool:
        events, task, kind = self.events, self.task, self.kind
        fr = compose({(r, w) for w, r in rf}, co)
        po_loc = {(a, b) for a, b in self.po if self.place[a] == self.place[b]}
        if cyclic(po_loc | rf | co | fr, events):
            return False

        def external(pairs: Pairs) -> Pairs:
            return {(a, b) for a, b in pairs if task[a] != task[b]}

        def internal(pairs: Pairs) -> Pairs:
            return pairs - external(pairs)

        if self.rmw & compose(external(fr), external(co)):
            return False
        rfe, overwrite, same = external(rf), co | fr, {(e, e) for e in events}
        memory = {e for e in events if kind[e] in "RW"}
        acq_po = {(a, b) for a, b in self.po if a in self.acquires and b in memory}
        po_rel = {(a, b) for a, b in self.po if b in self.releases and a in memory}
        rmb = {(a, b) for a, b in self.fences["rmb"] if kind[a] == kind[b] == "R"}
        wmb = {(a, b) for a, b in self.fences["wmb"] if kind[a] == kind[b] == "W"}
        mb = {(a, b) for a, b in self.fences["mb"] if a in memory and b in memory}
        depends = {(a, b) for a, b in self.po if kind[a] == "R" and kind[b] == "W"}
        ppo = depends | internal(overwrite) | acq_po | po_rel | rmb | wmb | mb
        sequence = star(compose(rf, self.rmw), events)
        cumul = compose(compose(same | rfe, mb | po_rel) | wmb, sequence)
        prop = compose(compose(same | external(overwrite), star(cumul, events)), same | rfe)
        hb = ppo | rfe | internal(prop - same)
        if cyclic(hb, events):
            return False
        return self._holds(prop, hb, mb)

    def _holds(self, prop: Pairs, hb: Pairs, strong: Pairs) -> bool:
        """The propagation axiom, and whatever else there is."""
        events = self.events
        return not cyclic(compose(compose(prop, strong), star(hb, events)), events)
