"""The lines that open a report, by kind; whole lines only, since source code and mails are full of the words.

Wordings changed: ``[ INFO: ... ]`` up to 4.11, ``WARNING: ...`` from 4.12 on, ``[ BUG: ... ]`` where it was
one from the beginning. `PARTS` are the words of `headline_of` that a search in bytes looks for first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sugarbush.lockdep.model import ReportKind

_FORMS: Final = (
    (ReportKind.CIRCULAR, r"possible circular locking (?:dependency|deadlock) detected"),
    (ReportKind.RECURSIVE, r"possible recursive locking detected"),
    (
        ReportKind.IRQ_ORDER,
        (
            r"(?P<safe>[A-Z_]+(?:-READ)?|hard|soft)-safe -> (?P<unsafe>[A-Z_]+(?:-READ)?|hard"
            r"|soft)-unsafe lock order detected"
        ),
    ),
    (ReportKind.INVERSION, r"possible irq lock inversion dependency detected"),
    (ReportKind.INCONSISTENT, r"(?:inconsistent lock state|illegal lock usage)"),
    (ReportKind.WAIT_CONTEXT, r"Invalid wait context"),
    (ReportKind.RCU, r"suspicious (?:RCU|rcu_dereference_check\(\)) usage"),
    (ReportKind.BAD_UNLOCK, r"bad unlock balance detected"),
    (ReportKind.BAD_CONTENTION, r"bad contention detected"),
    (ReportKind.HELD_FREED, r"held lock freed"),
    (ReportKind.RETURN_TO_USER, r"lock held when returning to user space"),
    (
        ReportKind.TASK_EXIT,
        r"(?:(?P<comm>.{1,64})/(?P<pid>\d+) still has locks held|lock held at task exit time)",
    ),
    (ReportKind.NEST_LOCK, r"Nested lock was not taken"),
    (ReportKind.KEY, r"trying to register non-static key"),
    (ReportKind.TABLE, r"MAX_[A-Z_]+ too low"),
    (ReportKind.SUBCLASS, r"looking up invalid subclass: \d+"),
    (ReportKind.SLEEP_IN_ATOMIC, r"sleeping function called from invalid context at (?P<message>\S+:\d+)"),
    (
        ReportKind.SCHEDULE_IN_ATOMIC,
        r"scheduling while atomic: (?P<scomm>.{1,64})/(?P<spid>\d+)/(?P<count>0x[0-9a-f]+).{0,40}",
    ),
    (
        ReportKind.HUNG,
        r"task (?P<hcomm>.{1,64}):(?P<hpid>\d+) (?:<[^>]*> )?blocked (?:in \S+ wait )?for more than \d+ seconds",
    ),
    (
        ReportKind.STALL,
        r"rcu_\w+ (?:self-)?detected (?:expedited )?stalls? on (?:CPUs/tasks|CPU|tasks)\b.{0,200}",
    ),
    (
        ReportKind.DATA_RACE,
        r"KCSAN: (?:data-race|assert: race) in (?P<race>[^\s+]+(?:\+0x\S+)?(?: / [^\s+]+(?:\+0x\S+)?)?)",
    ),
    (
        ReportKind.WORKER_LEAK,
        (
            r"workqueue leaked (?:lock or atomic|atomic, lock or RCU|lock, atomic or RCU): "
            r"(?P<wcomm>.{1,64})/0x[0-9a-f]+/(?P<wpid>\d+).{0,80}"
        ),
    ),
)
# One expression with a numbered group for each kind, which says by itself which kind it was: one for each would be two
# dozen searches in every line that could be a headline.
_ANY: Final = "|".join(f"(?P<k{at}>{form})" for at, (_, form) in enumerate(_FORMS))
_HEADLINE: Final = re.compile(
    r"(?:=+ )?(?:(?:rcu|BUG|WARNING|INFO): )?(?:\[ (?:BUG|INFO|WARNING): |(?:BUG|INFO|WARNING): "
    rf")(?:{_ANY})[.!?,]*(?: \])?"
    r"(?P<rest> \d.*)?$"
)
_LISTED: Final = re.compile(r"Showing all (?:blocking )?locks held in the system:$")
_UNHEADED: Final = re.compile(
    r"(?P<comm>.{1,64})/(?P<pid>\d+) (?:\[HC\S+\] )?is trying to (?:acquire(?: lock)?|lock):$"
)

# Each kind has a word here that stands in all its headlines and in few other lines: what has none is never found, since
# blocks without any of them are not read.
PARTS: Final = (
    "locking de",
    "recursive locking",
    "-unsafe lock order",
    "lock inversion",
    " lock state",
    " lock usage",
    "wait context",
    "RCU usage",
    "check() usage",
    "unlock balance",
    "contention detected",
    "lock freed",
    "lock held when",
    "lock held at task",
    "has locks held",
    "lock was not",
    "non-static key",
    " too low",
    "invalid subclass",
    "invalid context",
    "while atomic",
    " blocked for more",
    " blocked in ",
    "detected stall",
    "ed expedited stall",
    "KCSAN: ",
    "workqueue leaked",
    "locks held in the",
    "is trying to acquire",
    "is trying to lock:",
)


@dataclass(frozen=True, slots=True)
class Headline:
    """A headline: the kind, the line itself, what it says beside it, and what was run together with it."""

    kind: ReportKind
    text: str
    fields: dict[str, str]
    rest: str = ""


def headline_of(text: str) -> Headline | None:
    """The headline that a line without prefix is, or None."""
    # The ends of WARNING, INFO and BUG: nearly all lines fail here, before the expression is tried.
    if "NG: " not in text and "FO: " not in text and "UG: " not in text:
        if _LISTED.match(text):
            return Headline(ReportKind.ALL_LOCKS, text, {})
        return None
    found = _HEADLINE.match(text)
    if found is None:
        return None
    at = next(at for at in range(len(_FORMS)) if found[f"k{at}"] is not None)
    fields = {
        name: value for name, value in found.groupdict().items() if value is not None and name[0] != "k"
    }
    rest = fields.pop("rest", "").strip()
    kind = _FORMS[at][0]
    line = text.removesuffix(rest).strip() if rest else text
    return Headline(kind, line.lstrip("= "), fields, rest)


def unheaded(text: str) -> Headline | None:
    """The first section of a report whose headline a filter by level has taken away."""
    if "is trying to " not in text or _UNHEADED.match(text) is None:
        return None
    return Headline(ReportKind.UNKNOWN, "", {})
