"""The syntax of litmus tests for C: from text without comments to trees of tuples, each with its line.

In order, each built on those before: tokens and the tree, the cursor, types, expressions, statements and clauses, and
the parser of a whole test.
"""

from sugarbush.stress.litmus.syntax.parser import parse
from sugarbush.stress.litmus.syntax.tokens import Wrong
from sugarbush.stress.litmus.syntax.tree import Clause, Node, Parsed, ProcessTree

__all__ = ["Clause", "Node", "Parsed", "ProcessTree", "Wrong", "parse"]
