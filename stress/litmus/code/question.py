"""The question of a test, as a function of its final state that may also say that it is still open.

Open is an answer of its own, since the search asks long before the end: a branch is left as soon as nothing that may
still change could change the answer (`stress.litmus.check`).
"""

from __future__ import annotations

from typing import NoReturn

from sugarbush.stress.litmus.code.steps import OPEN, Built, Question, ValueOf
from sugarbush.stress.litmus.source import BadLitmus, Litmus
from sugarbush.stress.litmus.syntax import Clause, Node


class Questions:
    """The part of the builder that makes questions of clauses."""

    def __init__(self, test: Litmus) -> None:
        self._test = test
        self.built = Built()

    def bad(self, line: int, says: str) -> NoReturn:
        """Refuse what stands in a line."""
        raise BadLitmus(f"{self._test.path}, line {line}: {says}")

    def _clause(self, clause: Clause) -> None:
        built = self.built
        if clause.kind == "locations":
            for place, line in clause.says:
                self._asked(place, line)
            return
        says = self._proposition(clause.says)
        if clause.kind == "filter":
            if built.filtered is not None:
                self.bad(clause.line, "there are two filters: join them by /\\")
            built.filtered = says
            return
        if built.asks is not None:
            self.bad(clause.line, "the test asks two questions: it has one exists, ~exists or forall")
        built.spelt = clause.text
        built.quantifier = clause.kind
        built.asks = says

    def _asked(self, place: Node, line: int) -> tuple[int | None, str]:
        asked: tuple[int | None, str] = (place[0], place[1])
        process, name = asked
        if process is not None:
            code = next((code for code in self.built.processes if code.number == process), None)
            if code is None:
                self.bad(line, f"there is no process P{process}")
            # One that is never set is 0 for herd7, too; but it is asked for by mistake.
            if name not in code.names:
                code.names[name] = code.size
                code.size += 1
        elif name not in self.built.kinds:
            self.bad(line, f"there is no location {name}")
        elif self.built.kinds[name] != "p":
            self.bad(line, f"{name} is a lock: what it holds at the end is not asked")
        if asked not in self.built.asked:
            self.built.asked.append(asked)
        return asked

    def _proposition(self, node: Node) -> Question:
        kind = node[0]
        if kind == "equal":
            return self._equal(node)
        if kind in ("true", "false"):
            return lambda _state: kind == "true"
        if kind == "not":
            one = self._proposition(node[1])
            return lambda state: None if (holds := one(state)) is None else not holds
        parts = [self._proposition(part) for part in node[1]]
        # One part may decide while others are open.
        decides = kind == "or"

        def joined(state: ValueOf) -> bool | None:
            found: bool | None = not decides
            for part in parts:
                holds = part(state)
                if holds is decides:
                    return decides
                if holds is None:
                    found = None
            return found

        return joined

    def _equal(self, node: Node) -> Question:
        _, place, wanted, line = node
        asked = self._asked(place, line)
        if isinstance(wanted, tuple):
            other = self._asked(wanted, line)

            def same(state: ValueOf) -> bool | None:
                one, two = state(*asked), state(*other)
                return None if one is OPEN or two is OPEN else bool(one == two)

            return same
        if isinstance(wanted, str) and self.built.kinds.get(wanted) != "p":
            self.bad(line, f"there is no location {wanted}")

        def equal(state: ValueOf) -> bool | None:
            value = state(*asked)
            return None if value is OPEN else bool(value == wanted)

        return equal
