"""The lines of which a lock report is made, in all wordings that kernels had for them."""

from __future__ import annotations

import re
from typing import Final

ATOMIC: Final = re.compile(r"in_atomic\(\): .*\bpid: (?P<pid>\d+), name: (?P<comm>.{1,64})$")
TASK: Final = re.compile(
    r"(?P<comm>.{1,64})/(?P<pid>\d+)(?: \[(?P<tag>HC\S+)\])? (?P<does>is trying to acquire(?: lock)?:"
    r"|is trying to lock:"
    r"|just changed the state of lock:|takes:|is trying to (?:release|contend) lock.*|is freeing memory .*"
    r"|is leaving the kernel with locks still held!)$"
)
RELEASE: Final = re.compile(
    r"(?P<release>\d+\.\d+[\w.+~\-]*)(?: #\d+\S*| SMP| PREEMPT\S*)*(?: (?:Not t|T)ainted.*)?$"
)
CPU: Final = re.compile(
    r"CPU: \d+ (?:UID: \d+ )?PID: (?P<pid>\d+)\s+Comm: (?P<comm>.{1,64}?)\s+(?:Not tainted"
    r"|Tainted:.*?) (?P<release>\d+\.\S+)"
)
OLD_CPU: Final = re.compile(
    r"Pid: (?P<pid>\d+), comm: (?P<comm>.{1,64}?)\s+(?:Not tainted|Tainted:.*?) (?P<release>\d+\.\S+)"
)
HOLDS: Final = re.compile(
    r"(?:(?P<count>\d+) locks? held by|no locks held by) (?P<comm>.{1,64})/(?P<pid>\d+)(?:[:.]|,.*)$"
)
LINK: Final = re.compile(r"-> #(?P<index>\d+)\s*(?=\(|$)")
BLOCK: Final = re.compile(r"-> (?=\()")
HELD: Final = re.compile(r"#(?P<index>\d+):\s*")
USAGE: Final = re.compile(r"(?P<usage>(?:IN-|INITIAL )?[A-Z_]+(?:-ON)?(?:-[WR])?(?: READ)? ?(?:USE)?) at:$")
RELEASES: Final = re.compile(r"is trying to (?:release|contend) lock \((?P<name>.*)\) at:$")
STATES: Final = re.compile(r"inconsistent \{(?P<before>[^}]+)\} -> \{(?P<after>[^}]+)\} usage\.?$")
REGISTERED: Final = re.compile(r"\{(?P<state>[^}]+)\} state was registered at:$")
CONNECTS: Final = re.compile(r"but this new dependency connects a (?P<state>\S+)-irq-safe lock:$")
TO: Final = re.compile(r"to a (?P<state>\S+)-irq-unsafe lock:$")
BECAME: Final = re.compile(r"\.{0,3}\s*which became (?P<state>\S+-irq-(?P<what>safe|unsafe)) at:$")
ANOTHER: Final = re.compile(
    r"but this lock (?:took another, (?P<unsafe>\S+)-(?:irq-)?unsafe lock in the past:|was taken by "
    r"another, (?P<safe>\S+)-(?:irq-)?safe lock in the past:)$"
)
ROW: Final = re.compile(r"(?:lock|rlock|sync|wlock|local_irq_disable|<Interrupt>)")
ROW_LOCK: Final = re.compile(r"(?P<verb>r?lock|sync|wlock)\((?P<name>.+)\);$")
CHAIN: Final = re.compile(r"\S.* --> .*\S$")
MESSAGE: Final = re.compile(r"(?P<place>\S+:\d+) (?P<message>\S.*)$")
SPLIT: Final = re.compile(
    r"(?<=\S)\s+(?=but task is already holding lock:|and this task is already holding:|which lock already depends on"
    r"|the existing dependency chain|-> #\d+ \(|other info that might help us|Chain exists of:"
    r"|Possible (?:interrupt )?unsafe locking scenario:|\*\*\* DEADLOCK|\d+ locks? held by \S|no locks held by "
    r"|#\d+: (?:[0-9a-f]{6,16} )?\(|stack backtrace:|Call Trace:|CPU: \d+ PID: |Hardware name: "
    r"|which would create a new"
    r"|but this new dependency connects|to a \S+-irq-unsafe lock:|irq event stamp: |the dependencies between the lock"
    r"|the shortest dependencies|and interrupts could create|May be due to missing|\{[A-Z_ -]+\} state was registered"
    r"|rcu_scheduler_active = |in_atomic\(\): )"
    r"|(?<=is trying to acquire lock:)\s+(?=\S)|(?<=is trying to acquire:)\s+(?=\S)|(?<=is already "
    r"holding lock:)\s+(?=\S)"
    r"|(?<=-{10})\s+(?=\S)|(?<=already depends on the new lock\.)\s+(?=\S)|(?<=changed the state of lock:)\s+(?=\S)"
    r"|(?<=\] takes:)\s+(?=\S)|(?<=this task is already holding:)\s+(?=\S)"
)
CRASH: Final = re.compile(
    r"Unable to handle kernel|general protection fault|BUG: (?!sleeping|scheduling|workqueue|MAX_)"
    r"|kernel BUG at|Oops: |KASAN: "
    r"|-+\[ cut here|Linux version \d|watchdog: BUG|Internal error:|Rebooting in \d|sysrq: "
)
CRASH_STARTS: Final = "UgBkOK-LwIRs"
LAST_FUNCTION: Final = re.compile(r"last function: (?P<function>[\w.]+)")
FRAME: Final = re.compile(r"(?:\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+$")
TRACES: Final = (
    "Call Trace:",
    "Call trace:",
    "Backtrace:",
    "Backtrace: ",
    "stack backtrace:",
    "[<TASK>]",
    "Stack trace:",
)
SLOTS: Final = {
    "but task is already holding lock:": "owned",
    "and this task is already holding:": "owned",
    "and task is already holding:": "owned",
    "which would create a new lock dependency:": "dependency",
    "which lock already depends on the new lock.": "",
    "which lock already depends on the new lock,": "",
    "the existing dependency chain (in reverse order) is:": "",
    "other info that might help us debug this:": "",
    "but this task is not holding:": "nest",
    "Chain exists of:": "chain",
    "Possible unsafe locking scenario:": "table",
    "Possible interrupt unsafe locking scenario:": "table",
}
IGNORED: Final = (
    "CPU0",
    "----",
    "Hardware name:",
    "irq event stamp",
    "hardirqs last",
    "softirqs last",
    "<TASK>",
    "<IRQ>",
    "</IRQ>",
    "RIP:",
    "Code:",
    "RSP:",
    "RAX:",
    "RDX:",
    "RBP:",
    "R10:",
    "R13:",
    "<EOI>",
    "</EOI>",
    "... key",
    "*** DEADLOCK",
    "May be due",
    "and interrupts could",
    "the shortest dep",
    "rcu_scheduler_active",
    "preempt_count:",
    "RCU nest depth",
    "in_atomic",
    "ops:",
    "which could lead to",
    "Workqueue:",
    "hardirqs",
    "RCU used illegally",
    "FS:",
    "CS:",
    "CR2:",
    "DR0:",
    "DR3:",
    "ORIG_RAX",
)
NOTHING: Final = frozenset(
    {
        "CPU0",
        "----",
        "CPU0                    CPU1",
        "----                    ----",
        "*** DEADLOCK ***",
        "May be due to missing lock nesting notation",
    }
)
"""Lines that say nothing that is not known."""
