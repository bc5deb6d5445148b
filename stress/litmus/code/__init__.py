"""Litmus tests as code: from the syntax tree to the steps of each process, and the question about the final state.

In order: arithmetic and steps, registers, expressions, a process, the question, and `build`, which makes the whole
test.
"""

from sugarbush.stress.litmus.code.build import build
from sugarbush.stress.litmus.code.steps import OPEN, Built, Code, Places, Registers, Step, ValueOf

__all__ = ["OPEN", "Built", "Code", "Places", "Registers", "Step", "ValueOf", "build"]
