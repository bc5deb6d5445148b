"""The audit: a runtime that watches what operations touch, and compares it with what they are declared to be."""

from sugarbush.concurrency.runtimes.audit.audited import Audited
from sugarbush.concurrency.runtimes.audit.findings import Audit, WrongDeclaration

__all__ = ["Audit", "Audited", "WrongDeclaration"]
