"""Reading a litmus test: its name, what it says is expected, and its syntax tree.

The format is that of herd7 for C (doc/litmus.md there), and of tools/memory-model/litmus-tests in the kernel, v6.6.
What is expected stands in comments, as ``Result: Never`` there; ``Here: Sometimes, since ...`` says where ours must
differ and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lark import Lark, ParseTree, UnexpectedInput

from concurrency import SugarbushError
from lockdep.files import UnusableFile, read_text

_COMMENT = re.compile(r"\(\*(?=[\s*]).*?\*\)|/\*.*?\*/|//[^\n]*", re.DOTALL)
_HEADER = re.compile(r"\s*C\s+(\S+)[^\n]*\n")
_RESULT = re.compile(r"\bResult:\s*(\w+)")
_HERE = re.compile(r"\bHere:\s*(\w+),?\s*(.*?)\s*(?=\*\)|\*/|\n\s*\*?\s*\n|\Z)", re.DOTALL)
_LARGEST = 1024 * 1024
VERDICTS = {"never": "Forbidden", "sometimes": "Allowed", "always": "Allowed", "deadlock": "Failed"}
"""What the words of the kernel's tests mean here."""


class BadLitmus(SugarbushError):
    """A file is not a litmus test that can be run; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Litmus:
    """A litmus test. `text` is the source without comments, line for line; `stated` is the verdict of the kernel's
    model as the file says it, `here` that of ours where it differs, `why` the reason; None if nothing is said.
    """

    path: Path
    name: str
    text: str
    tree: ParseTree
    stated: str | None
    here: str | None
    why: str

    @property
    def expected(self) -> str | None:
        """The verdict that the file leads to expect."""
        return self.here or self.stated


@cache
def _parser() -> Lark:
    return Lark.open("grammar.lark", rel_to=__file__, parser="lalr", propagate_positions=True)


def read(path: Path) -> Litmus:
    """The litmus test in a file; raises `BadLitmus`."""
    try:
        source = read_text(path, _LARGEST)
    except UnusableFile as error:
        raise BadLitmus(str(error)) from None
    return parse(source, path)


def parse(source: str, path: Path) -> Litmus:
    """The litmus test that `source` spells; `path` is where errors say that they are. Raises `BadLitmus`."""
    comments = "\n".join(_COMMENT.findall(source))
    text = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), source)
    header = _HEADER.match(text)
    if header is None:
        raise BadLitmus(f"{path}: a litmus test begins with 'C' and its name")
    body = re.sub(r"[^\n]", " ", header[0]) + text[header.end() :]
    try:
        tree = _parser().parse(_without_description(body))
    except UnexpectedInput as error:
        if error.line < 1 or getattr(getattr(error, "token", None), "type", "") == "$END":
            raise BadLitmus(f"{path}: the test ends too early") from None
        found = body.splitlines()[error.line - 1][error.column - 1 :].split()
        raise BadLitmus(
            f"{path}, line {error.line}: this is not understood: {' '.join(found)[:40]!r}"
        ) from None
    except RecursionError:
        raise BadLitmus(f"{path} is nested too deep") from None
    result, here = _RESULT.search(comments), _HERE.search(comments)
    return Litmus(
        path=path,
        name=header[1],
        text=body,
        tree=tree,
        stated=None if result is None else _verdict(path, result[1]),
        here=None if here is None else _verdict(path, here[1]),
        why="" if here is None else re.sub(r"[\s*]+", " ", here[2]).strip(),
    )


def _without_description(body: str) -> str:
    """A string between the name and the initial state describes the test."""
    return re.sub(r'\A(\s*)("[^"]*")', lambda found: found[1] + " " * len(found[2]), body)


def _verdict(path: Path, word: str) -> str:
    verdict = VERDICTS.get(word.lower())
    if verdict is None:
        raise BadLitmus(f"{path}: the result is one of {', '.join(VERDICTS)}, not {word!r}")
    return verdict
