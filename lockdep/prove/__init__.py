"""The checks: which cycles, interrupts, wait types and common outer locks a new dependency makes."""

from sugarbush.lockdep.prove.irqprover import INVERSION_HEADLINE, IrqProver
from sugarbush.lockdep.prove.prover import Prover, made_by
from sugarbush.lockdep.prove.waits import check_wait_context

__all__ = [
    "INVERSION_HEADLINE",
    "IrqProver",
    "Prover",
    "check_wait_context",
    "made_by",
]
