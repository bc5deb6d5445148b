"""What runs a program: simulated, threaded, with weak memory, or audited; and `Settings`, which choose."""

from sugarbush.concurrency.runtimes.audit import Audit, Audited, WrongDeclaration
from sugarbush.concurrency.runtimes.patience import watchdog
from sugarbush.concurrency.runtimes.settings import MEMORIES, Settings
from sugarbush.concurrency.runtimes.simulated import DEFAULT_MAX_STEPS, Simulated
from sugarbush.concurrency.runtimes.threaded import Threaded
from sugarbush.concurrency.runtimes.weak import by_name

__all__ = [
    "DEFAULT_MAX_STEPS",
    "MEMORIES",
    "Audit",
    "Audited",
    "Settings",
    "Simulated",
    "Threaded",
    "WrongDeclaration",
    "by_name",
    "watchdog",
]
