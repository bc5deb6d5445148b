"""All executions of a litmus test, by the states that they pass through.

In order: states and futures, what processes know, what is forgotten, accesses, barriers, locks and readers, and the
machine, which goes from state to state.
"""

from sugarbush.stress.litmus.search.machine import DEADLOCK, Ended, Machine, search
from sugarbush.stress.litmus.search.states import MachineState

__all__ = ["DEADLOCK", "Ended", "Machine", "MachineState", "search"]
