"""From the text of a litmus test to tokens, each with the line that it stands in."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)(?P<glued>[A-Za-z_0-9]*)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<symbol>/\\|\\/|==|!=|<=|>=|=>|<>|&&|\|\||<<|>>|->|[{}()\[\],;:*&|^+\-/%~!<>=.])"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)"
)
_SUFFIX = re.compile(r"[uUlL]{0,3}")


class Wrong(Exception):
    """Something is no litmus test: where, and what."""

    def __init__(self, line: int, says: str) -> None:
        super().__init__(says)
        self.line = line


class Token(NamedTuple):
    """A piece of text: ``number``, ``name``, ``symbol`` or ``end``, and where it begins."""

    kind: str
    text: str
    line: int
    at: int


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text; raises `Wrong` at the first character that begins none."""
    found: list[Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "space":
            line += match[0].count("\n")
        elif kind == "glued":
            if not _SUFFIX.fullmatch(match["glued"]):
                raise Wrong(line, f"this is not understood: {shown(match[0])}")
            found.append(Token("number", match["number"], line, match.start()))
        elif kind == "other":
            raise Wrong(line, f"this is not understood: {shown(text[match.start() :])}")
        else:
            found.append(Token(str(kind), match[0], line, match.start()))
    found.append(Token("end", "", line, len(text)))
    return found


def shown(text: str) -> str:
    # What does not print would be a line of its own, or none, in a message of one line.
    words = "".join(one if one.isprintable() else "?" for one in " ".join(text[:80].split()))
    return repr(words[:40])
