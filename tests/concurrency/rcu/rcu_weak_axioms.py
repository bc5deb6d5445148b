"""RCU in the axioms of `weak_axioms`: grace periods, whole and in two halves, readers, and callbacks.

Besides the instructions there: ``("lock",)``, ``("unlock",)``, ``("sync",)``, ``("start",)``, ``("poll",)`` (of the
cookie of the last start; only executions in which it is true are looked at) and ``("call", body)``.
"""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

from weak_axioms import Execution, Instruction, Pairs, compose, cyclic, star


def spread(tasks: list[list[Instruction]]) -> list[list[Instruction]]:
    """The same with the barriers and the halves of grace periods as instructions; callbacks are further tasks."""
    threads: list[list[Instruction]] = []
    callbacks: list[list[Instruction]] = []
    number = 0
    for body in tasks:
        thread: list[Instruction] = []
        later: list[Instruction] = []
        for what, *rest in body:
            if what == "sync":
                number += 1
                thread += [("mb",), ("F", f"b{number}"), ("F", f"e{number}"), ("mb",)]
            elif what == "start":
                number += 1
                thread += [("mb",), ("F", f"b{number}")]
                started = number
            elif what == "poll":
                thread += [("F", f"e{started}"), ("mb",)]
            elif what == "call":
                number += 1
                thread += [("mb",), ("F", f"b{number}")]
                later += [("F", f"e{number}"), ("mb",), ("F", "l"), *rest[0], ("F", "u")]
            elif what == "lock":
                thread.append(("F", "l"))
            elif what == "unlock":
                thread.append(("F", "u"))
            else:
                thread.append((what, *rest))
        threads.append(thread)
        if later:
            callbacks.append(later)
    return threads + callbacks


class RcuExecution(Execution):
    """The events are those of `Execution`; those called "F" touch no memory."""

    def __init__(self, tasks: list[list[Instruction]], places: str) -> None:
        super().__init__(spread(tasks), places)
        at = {
            what: [e for e in self.events if self.kind[e] == "F" and self.place[e] == what]
            for what in set(self.place)
        }
        self.graces = [
            (b, e) for what in at if what[0] == "b" for b in at[what] for e in at.get("e" + what[1:], [])
        ]
        self.readers = []
        for lock in at.get("l", []):
            self.readers.append((min(u for u in at["u"] if (lock, u) in self.po), lock))

    def outcomes(self) -> set[tuple[Any, ...]]:
        """See `Execution.outcomes`: a place is what is read or written."""
        places = dict.fromkeys(self.place[w] for w in self.writes)
        mine = {p: [w for w in self.writes if self.place[w] == p and self.task[w] >= 0] for p in places}
        first = {self.place[w]: w for w in self.writes if self.task[w] < 0}
        found = set()
        for orders in product(*(permutations(mine[p]) for p in places)):
            lines = [[first[p], *order] for p, order in zip(places, orders, strict=True)]
            co = {(line[i], line[j]) for line in lines for j in range(len(line)) for i in range(j)}
            for sources in product(
                *([w for w in self.writes if self.place[w] == self.place[r]] for r in self.reads)
            ):
                rf = set(zip(sources, self.reads, strict=True))
                result = (*(self.value[w] for w in sources), *(self.value[line[-1]] for line in lines))
                if result not in found and self._allowed(rf, co):
                    found.add(result)
        return found

    def _holds(self, prop: Pairs, hb: Pairs, strong: Pairs) -> bool:
        """The rcu axiom: no `rcu-fence` that what it orders contradicts."""
        events = self.events
        same = {(e, e) for e in events}
        po = self.po
        pb = compose(compose(prop, strong), star(hb, events))
        link = compose(compose(compose(compose(same | po, star(hb, events)), star(pb, events)), prop), po)
        order = set(self.graces)
        while True:
            more = {(b, o) for b, e in self.graces for u, o in self.readers if (e, u) in link}
            more |= {(u, e) for b, e in self.graces for u, o in self.readers if (o, b) in link}
            for x, y in order:
                more |= {
                    (b, o)
                    for b, e in self.graces
                    for u, o in self.readers
                    if (e, x) in link and (y, u) in link
                }
                more |= {
                    (u, e)
                    for b, e in self.graces
                    for u, o in self.readers
                    if (o, x) in link and (y, b) in link
                }
            more |= compose(compose(order, link), order)
            if more <= order:
                break
            order |= more
        fence = compose(compose(po, order), same | po)
        pb = compose(compose(prop, strong | fence), star(hb, events))
        if cyclic(pb, events):
            return False
        rb = compose(compose(compose(prop, fence), star(hb, events)), star(pb, events))
        return all(a != b for a, b in rb)
