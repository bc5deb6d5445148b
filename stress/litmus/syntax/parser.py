"""A whole test: its initial state, its processes, and its clauses.

The language is that of herd7's parser for C and for final states (lib/CParser.mly, lib/stateParser.mly there), as far
as tests for the kernel use it. `parse` is a recursive descent by hand: it says where it was in words, and
is several times as fast as tables.
"""

from __future__ import annotations

import re

from sugarbush.stress.litmus.syntax.clauses import Clauses
from sugarbush.stress.litmus.syntax.statements import Statements
from sugarbush.stress.litmus.syntax.tokens import Wrong
from sugarbush.stress.litmus.syntax.tree import Init, Parsed, ProcessTree


def parse(text: str) -> Parsed:
    """The tree of a test whose header and comments are blanks; raises `Wrong`."""
    return _Parser(text).test()


class _Parser(Statements, Clauses):
    # -- the whole ----------------------------------------------------------------------------------------------

    def test(self) -> Parsed:
        self._want("{")
        init = self._init()
        processes = []
        while self._next.kind == "name" and (
            re.fullmatch(r"P[0-9]{1,4}", self._next.text) or self._next.text in ("void", "static")
        ):
            processes.append(self._process())
        if not processes:
            self._stray("a process, as P0(...) { ... }, is missing before")
        clauses = []
        while self._next.kind != "end":
            clauses.append(self._clause())
        return Parsed(init, processes, clauses)

    def _init(self) -> list[Init]:
        found = []
        while not self._took("}"):
            if not self._took(";"):
                found.append(self._init_item())
                if not self._is("}") and not self._is(";"):
                    self._stray("';' is missing before")
        return found

    def _init_item(self) -> Init:
        line = self._next.line
        kind: str | None = None
        if self._is_type():
            kind = self._type()
        self._stars()
        process: int | None = None
        # "0:r1" or "P0:r1".
        if self._ahead(1).text == ":":
            process = self._process_number()
            self._take()
        name = self._name().text if not self._took("[") else self._bracketed()
        if self._is("["):
            raise Wrong(line, "arrays are not supported here: use one location for each element")
        value: int | str | None = None
        if self._took("="):
            value = self._init_value()
        return Init(kind, process, name, value, line)

    def _init_value(self) -> int | str:
        cast = self._is("(")
        while cast and self._is("(") and self._is_type(1):
            self._take()
            self._type()
            self._want(")")
        if self._took("&"):
            return self._name().text
        if self._next.kind == "name":
            name = self._take()
            if self._took("("):
                # ATOMIC_INIT(1), and whatever else makes a value of one.
                value = self._signed()
                self._want(")")
                return value
            return name.text
        return self._signed()

    def _process(self) -> ProcessTree:
        while self._next.text in ("void", "static"):
            self._take()
        self._stars()
        token = self._name()
        if not re.fullmatch(r"P[0-9]{1,4}", token.text):
            raise Wrong(token.line, f"a process is called P0, P1 and so on, not {token.text[:40]}")
        made = ProcessTree(int(token.text[1:]), token.line)
        self._want("(")
        if self._is("void") and self._ahead(1).text == ")":
            self._take()
        while not self._took(")"):
            if not self._is_type():
                self._stray("a parameter, as int *x, is missing before")
            kind = self._type()
            name = self._name()
            made.parameters.append((kind, name.text, name.line))
            if not self._took(",") and not self._is(")"):
                self._stray("',' is missing before")
        made.body = self._block()
        return made
