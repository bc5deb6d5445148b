"""Kinds that the cases leave out, after the texts of the kernel; names are made up."""

from __future__ import annotations

import pytest

from sugarbush.lockdep.read import LogReport, as_text, read_text
from sugarbush.lockdep.read.gathering import gather

TRACE = "Call Trace:\n <TASK>\n dump_stack_lvl+0x1/0x2\n {primitive}+0x1/0x2\n bake_bread+0x3/0x4\n </TASK>\n"
KINDS = {
    "schedule": (
        "BUG: scheduling while atomic: cook/7/0x00000002\n1 lock held by cook/7:\n"
        " #0: ffff888112345678 (&oven->lock){+.+.}-{2:2}, at: oven_open+0x1/0x2\nModules linked in:\n"
        + TRACE.format(primitive="__schedule_bug"),
        "BUG: scheduling while atomic in bake_bread",
        (),
    ),
    "key": (
        "INFO: trying to register non-static key.\nThe code is fine but needs lockdep annotation, or maybe\n"
        "you didn't initialize this object before use?\nturning off the locking correctness validator.\n"
        "CPU: 0 PID: 7 Comm: cook Not tainted 6.1.2 #3\n" + TRACE.format(primitive="register_lock_class"),
        "INFO: trying to register non-static key in bake_bread",
        (),
    ),
    "worker-leak": (
        "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000000/7\n     last function: bake_fn\n"
        "1 lock held by kworker/0:1/7:\n #0: ffff888112345678 (&oven->lock){+.+.}-{3:3}, at: bake_fn+0x1/0x2\n"
        + TRACE.format(primitive="process_one_work"),
        "BUG: workqueue leaked lock or atomic in bake_fn",
        (),
    ),
    "subclass": (
        "BUG: looking up invalid subclass: 8\nturning off the locking correctness validator.\n"
        + TRACE.format(primitive="look_up_lock_class"),
        "BUG: looking up invalid subclass in bake_bread",
        (),
    ),
    "bad-contention": (
        "\n=================================\nWARNING: bad contention detected!\n6.1.2 #3 Not tainted\n"
        "---------------------------------\ncook/7 is trying to contend lock (&oven->lock) at:\n"
        "[<ffffffff81234567>] bake_bread+0x3/0x4\nbut there are no locks held!\n\n"
        "other info that might help us debug this:\n"
        "no locks held by cook/7.\n\nstack backtrace:\n" + TRACE.format(primitive="lock_contended"),
        "WARNING: bad contention in bake_bread",
        ("&oven->lock",),
    ),
    "stall": (
        "rcu: INFO: rcu_preempt self-detected stall on CPU\n"
        "rcu: \t0-....: (1 GPs behind) idle=1/2/3 softirq=4/5 fqs=6\n"
        "\t(t=10500 jiffies g=1 q=2)\n" + TRACE.format(primitive="rcu_sched_clock_irq"),
        "",
        (),
    ),
    "race": (
        "==================================================================\n"
        "BUG: KCSAN: data-race in bake_bread / knead\n\n"
        "write to 0xffff888112345678 of 4 bytes by task 7 on cpu 0:\n bake_bread+0x1/0x2\n",
        "KCSAN: data-race in bake_bread / knead",
        (),
    ),
}


@pytest.mark.parametrize("word", KINDS)
@pytest.mark.parametrize("prefix", ["", "[  100.000001] ", "[  100.000001][    C0] "])
def test_a_kind_is_named_with_its_title(word: str, prefix: str) -> None:
    text, title, cycle = KINDS[word]
    (report,) = read_text("".join(prefix + line + "\n" for line in text.splitlines()), "log")
    assert (report.word, report.cycle) == (word, cycle)
    if title:
        assert report.title == title
    assert as_text(gather([report]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[ INFO: possible recursive locking detected ]", "recursive"),
        ("[ BUG: bad unlock balance detected! ]", "bad-unlock"),
        ("[ BUG: held lock freed! ]", "held-freed"),
        ("[ BUG: lock held when returning to user space! ]", "held-user"),
        ("[ INFO: hard-safe -> hard-unsafe lock order detected ]", "irq-order"),
        ("[ INFO: SOFTIRQ-READ-safe -> SOFTIRQ-unsafe lock order detected ]", "irq-order"),
        ("[ INFO: suspicious rcu_dereference_check() usage. ]", "rcu"),
        ("[ BUG: lock held at task exit time! ]", "held-exit"),
        ("BUG: MAX_LOCK_DEPTH too low!", "table"),
        (
            "INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... } 1234 jiffies s: 1 root: 0x1/.",
            "stall",
        ),
        ("INFO: task cook:7 <writer> blocked on a mutex likely owned by task a:1", None),
        ("INFO: task CPU 0/KVM:1537 blocked for more than 143 seconds.", "hung"),
    ],
)
def test_headlines_of_other_years(old: str, new: str | None) -> None:
    found: list[LogReport] = read_text(f"[  100.000001] {old}\n", "log")
    assert [report.word for report in found] == ([new] if new else [])


def test_a_log_filtered_by_level_has_lost_its_headline() -> None:
    lock = "(&oven->lock){+.+.}-{3:3}, at: bake+0x1/0x2"
    text = (
        f"cook/7 is trying to acquire lock:\nffff8881123456 {lock}\n"
        f"but task is already holding lock:\nffff8881123457 {lock}"
    )
    (report,) = read_text("".join(f"[  100.000001] {line}\n" for line in text.splitlines()), "log")
    assert (report.word, report.complete) == ("recursive", True)
