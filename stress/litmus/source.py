"""Reading a litmus test: its name, what it says is expected, and its syntax tree.

The format is that of herd7 for C (doc/litmus.md there), and of tools/memory-model/litmus-tests in the kernel, v6.6.
What is expected stands in comments, as ``Result: Never`` there; ``Here: Sometimes, since ...`` says where ours must
differ and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sugarbush.concurrency import SugarbushError
from sugarbush.lockdep.outside import UnusableFile, read_text
from sugarbush.stress.litmus.syntax import Parsed, Wrong
from sugarbush.stress.litmus.syntax import parse as tree_of

_HEADER = re.compile(r"\s*C[ \t]+(\S+)[^\n]*(?:\n|\Z)")
_KEY = re.compile(r"[A-Za-z_][A-Za-z_0-9.-]*[ \t]*=[^\n]*")
_STRING = re.compile(r'"[^"]*"')
_RESULT = re.compile(r"\bResult:\s*(\w+)")
_HERE = re.compile(r"\bHere:\s*(\w+),?\s*(.*?)\s*(?=\*\)|\*/|\n\s*\*?\s*\n|\Z)", re.DOTALL)
_LARGEST = 1024 * 1024
OBSERVATIONS = {"never": "Never", "sometimes": "Sometimes", "always": "Always", "deadlock": "DEADLOCK"}
"""The results that say something. Any other word, as the Maybe of some public tests, leads to expect nothing."""


class BadLitmus(SugarbushError):
    """A file is not a litmus test that can be run; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Litmus:
    """A litmus test.

    `text` is the source without comments, line for line; `says` is what the kernel's model observes as the file says it
    (a value of `OBSERVATIONS`), `says_here` what ours does where it differs, `why` the reason; None if nothing is said.
    """

    path: Path
    name: str
    text: str
    tree: Parsed
    says: str | None
    says_here: str | None
    why: str

    @property
    def observes(self) -> str | None:
        """The observation that the file leads to expect."""
        return self.says_here or self.says

    @property
    def stated(self) -> str | None:
        """The verdict of the kernel's model, as the file says it."""
        return self._verdict(self.says)

    @property
    def here(self) -> str | None:
        """The verdict of ours where it must differ."""
        return self._verdict(self.says_here)

    @property
    def expected(self) -> str | None:
        """The verdict that the file leads to expect."""
        return self._verdict(self.observes)

    def _verdict(self, observed: str | None) -> str | None:
        """What an observation means for the question: Allowed is a state that satisfies exists, or violates forall."""
        if observed is None or observed == "DEADLOCK":
            return None if observed is None else "Failed"
        forall = any(clause.kind == "forall" for clause in self.tree.clauses)
        return "Forbidden" if observed == ("Always" if forall else "Never") else "Allowed"


def read(path: Path) -> Litmus:
    """The litmus test in a file; raises `BadLitmus`."""
    try:
        source = read_text(path, _LARGEST).removeprefix("\ufeff")
    except UnusableFile as error:
        raise BadLitmus(str(error)) from None
    return parse(source, path)


def parse(source: str, path: Path) -> Litmus:
    """The litmus test that `source` spells; `path` is where errors say that they are. Raises `BadLitmus`."""
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        text, comments = _without_comments(source)
        header = _HEADER.match(text)
        if header is None:
            raise BadLitmus(f"{path}: a litmus test begins with 'C' and its name")
        body = _without_header(text, header.end())
        tree = tree_of(body)
    except Wrong as error:
        raise BadLitmus(f"{path}, line {error.line}: {error}") from None
    result, here = _RESULT.search(comments), _HERE.search(comments)
    if here is not None and here[1].lower() not in OBSERVATIONS:
        raise BadLitmus(f"{path}: what is said to be observed here is one of {', '.join(OBSERVATIONS)}")
    return Litmus(
        path=path,
        name=header[1],
        text=body,
        tree=tree,
        says=None if result is None else OBSERVATIONS.get(result[1].lower()),
        says_here=None if here is None else OBSERVATIONS[here[1].lower()],
        why="" if here is None else re.sub(r"[\s*]+", " ", here[2]).strip(),
    )


_OUTSIDE = re.compile(r'\(\*|/\*|//|[{}"]')
_INSIDE = re.compile(r"/\*|//|[{}]")
_ML = re.compile(r"\(\*|\*\)")


def _without_comments(source: str) -> tuple[str, str]:
    """The source with blanks for comments, and the comments.

    ``(* ... *)``, which nests, is a comment outside of the bodies of processes only, as for herd7 (lib/CLexer.mll):
    ``READ_ONCE(*x)`` begins none, and what looked like one would swallow statements without a word.
    """
    parts: list[str] = []
    comments: list[str] = []
    at, depth, bodies = 0, 0, False
    while True:
        inside = depth > 0 and bodies
        match = (_INSIDE if inside else _OUTSIDE).search(source, at)
        if match is None:
            parts.append(source[at:])
            return "".join(parts), "\n".join(comments)
        found = match[0]
        parts.append(source[at : match.start()])
        at = match.end()
        if found in "{}":
            if not bodies and not depth and "".join(parts).rstrip().endswith(")"):
                line = source.count("\n", 0, match.start()) + 1
                raise Wrong(line, "the initial state, as {}, is missing before the first process")
            depth += 1 if found == "{" else -1
            if depth <= 0:
                # The first pair of braces holds the initial state, all later ones processes.
                depth, bodies = 0, True
            parts.append(found)
            continue
        if found == '"':
            # Only a description has quotes, and what it says is no comment.
            end = source.find('"', at)
            end = len(source) if end < 0 else end + 1
            parts.append(source[match.start() : end])
            at = end
            continue
        if found == "//":
            end = source.find("\n", at)
            end = len(source) if end < 0 else end
        elif found == "/*":
            end = source.find("*/", at) + 2
            if end < 2:
                raise Wrong(source.count("\n", 0, match.start()) + 1, "this comment does not end")
        else:
            end = _end_of_comment(source, match.start())
        comment = source[match.start() : end]
        comments.append(comment)
        parts.append(re.sub(r"[^\n]", " ", comment))
        at = end


def _end_of_comment(source: str, start: int) -> int:
    first = source.find("*)", start) + 2
    if first < 2:
        raise Wrong(source.count("\n", 0, start) + 1, "this comment does not end")
    depth = 0
    for match in _ML.finditer(source, start):
        depth += 1 if match[0] == "(*" else -1
        if not depth:
            # Prose that quotes READ_ONCE(*x) begins a comment that it does not end. Where the end would be found beyond
            # a brace only, code may have been swallowed, so the first end counts.
            return match.end() if not re.search(r"[{}]", source[first : match.end()]) else first
    return first


def _without_header(text: str, end: int) -> str:
    """Blanks for what stands before the initial state: the name, a description in quotes, and ``Key=Value`` lines.

    diy7 writes such lines (Cycle, Prefetch, Orig and so on); they say how a test was made, and nothing about it.
    """
    first = text.find("{", end)
    header = text[end : len(text) if first < 0 else first]
    rest = _STRING.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), header)
    line = text.count("\n", 0, end) + 1
    for number, words in enumerate(rest.split("\n")):
        stripped = words.strip()
        if stripped and not _KEY.fullmatch(stripped):
            raise Wrong(line + number, f"this is not understood: {stripped[:40]!r}")
    blank = re.sub(r"[^\n]", " ", text[:end] + header)
    return blank + text[end + len(header) :]
