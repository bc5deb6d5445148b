"""Where a parser stands in its tokens: looking, taking, and saying what is missing there."""

from __future__ import annotations

from typing import NoReturn

from sugarbush.stress.litmus.syntax.tokens import Token, Wrong, shown, tokens_of

_DEEPEST = 100
"""Parentheses, blocks and operators before one operand: so deep nothing is nested that somebody has written."""
_WIDEST = 64
"""Bits of a number."""


class Cursor:
    """The tokens of a test, and where among them a parser is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._at = 0
        self._depth = 0
        self._next = self._tokens[0]

    def _take(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._at += 1
            self._next = self._tokens[self._at]
        return token

    def _is(self, text: str) -> bool:
        # A name and a symbol never have the same text, so the text is enough.
        return self._next.text == text and self._next.kind != "number"

    def _ahead(self, count: int) -> Token:
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def _took(self, text: str) -> bool:
        if self._is(text):
            self._take()
            return True
        return False

    def _want(self, text: str) -> Token:
        if not self._is(text):
            self._stray(f"{text!r} is missing before")
        return self._take()

    def _stray(self, says: str = "this is not understood:") -> NoReturn:
        token = self._next
        if token.kind == "end":
            last = self._tokens[max(0, self._at - 1)].line
            raise Wrong(last, "the test ends too early")
        raise Wrong(token.line, f"{says} {shown(self._text[token.at :])}")

    def _name(self) -> Token:
        if self._next.kind != "name":
            self._stray()
        return self._take()

    def _number(self) -> int:
        if self._next.kind != "number":
            self._stray()
        token = self._take()
        text = token.text
        if len(text) > _WIDEST:
            raise Wrong(token.line, f"the number {text[:12]}... is too large: {_WIDEST} bits hold a number")
        try:
            # C's octal, which herd7 takes for decimal: the kernel compiles these tests, too (klitmus7).
            value = int(text, 8) if text[0] == "0" and text.isdigit() else int(text, 0)
        except ValueError:
            raise Wrong(token.line, f"{text} is no number: one that begins with 0 is octal") from None
        if value >> _WIDEST:
            raise Wrong(token.line, f"the number {text[:12]}... is too large: {_WIDEST} bits hold a number")
        return value

    def _signed(self) -> int:
        negative = self._took("-")
        value = self._number()
        return -value if negative else value

    def _spelt(self, start: Token) -> str:
        """The source from a token up to here, on one line."""
        end = self._tokens[self._at - 1]
        return " ".join(self._text[start.at : end.at + len(end.text)].split()).rstrip(";").rstrip()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Wrong(self._next.line, f"this is nested too deep: more than {_DEEPEST} levels")
