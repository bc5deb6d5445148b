"""Reports of other checkers, after their documented shapes: the circle, who made each step, and no circle
that is not there."""

from __future__ import annotations

import pytest

from sugarbush.lockdep.read import LogReport, identity, read_text

TSAN = """\
==================
WARNING: ThreadSanitizer: lock-order-inversion (potential deadlock) (pid=188565)
  Cycle in lock order graph: M9 (0x5589cf5b5040) => M10 (0x5589cf5b5080) => M11 (0x5589cf5b50c0) => M9

  Mutex M10 acquired here while holding mutex M9 in thread T1:
    #0 pthread_mutex_lock sanitizer_common_interceptors.inc:4240 (libtsan.so.0+0x53908)
    #1 std::mutex::lock() /usr/include/c++/11/bits/std_mutex.h:100 (demo+0x2344)
    #2 knead(int) /src/bakery.cpp:10 (demo+0x13e8)

    Hint: use TSAN_OPTIONS=second_deadlock_stack=1 to get more informative warning message

  Mutex M11 acquired here while holding mutex M10 in thread T2:
    #0 pthread_mutex_lock <null> (demo+0x439a10)
    #1 rise /src/bakery.cpp:20 (demo+0x13e8)

  Mutex M9 acquired here while holding mutex M11 in main thread:
    #0 pthread_mutex_lock <null> (demo+0x439a10)
    #1 bake /src/bakery.cpp:30 (demo+0x13e8)

  Thread T1 (tid=188567, running) created by main thread at:
    #0 pthread_create <null> (demo+0x1)

SUMMARY: ThreadSanitizer: lock-order-inversion (potential deadlock) /src/bakery.cpp:10 in knead
==================
"""
BCC = """\
Potential Deadlock Detected!

Cycle in lock order graph: Mutex M0 (main::oven 0x473c60) => Mutex M1 (0x7fff6d738400) => Mutex M0 (main::oven 0x473c60)

Mutex M1 (0x7fff6d738400) acquired here while holding Mutex M0 (main::oven 0x473c60) in Thread 357250 (bakery):
@ 00000000004024d0 pthread_mutex_lock
@ 0000000000406dd0 std::mutex::lock()
@ 00000000004024e0 knead(int)

Mutex M0 (main::oven 0x473c60) previously acquired by the same Thread 357250 (bakery) here:
@ 00000000004024d0 pthread_mutex_lock
@ 00000000004024e0 preheat

Mutex M0 (main::oven 0x473c60) acquired here while holding Mutex M1 (0x7fff6d738400) in Thread 357251 (bakery):
@ 00000000004024d0 pthread_mutex_lock
@ 00000000004024e1 bake

Thread 357250 created by Thread 350790 (bakery) here:
@ 00007fd4496564e1 __clone
"""
OPENBSD = """\
witness: lock order reversal:
 1st 0xfffffd806e42c1a0 vmmaplk (&map->lock)
 2nd 0xffff800000a1f0f0 inode (&ip->i_lock)
lock order "&ip->i_lock"(rrwlock) -> "&map->lock"(rwlock) first seen at:
#0  rw_enter_read+0x38
#1  uvmfault_lookup+0x8a
lock order "&map->lock"(rwlock) -> "&ip->i_lock"(rrwlock) first seen at:
#0  rw_enter+0x6c
#1  ufs_lock+0x20
"""
FREEBSD = """\
lock order reversal:
 1st 0xfffff80003c3a068 ufs (ufs, lockmgr) @ /usr/src/sys/kern/vfs_mount.c:1278
 2nd 0xfffff80003e2ba28 devfs (devfs, lockmgr) @ /usr/src/sys/ufs/ffs/ffs_vfsops.c:1414
stack backtrace:
#0 0xffffffff80a1b2c3 at witness_debugger+0x73
#1 0xffffffff80a1b100 at ffs_mount+0x34
"""
OPTEE = """\
E/TC:0 0 Potential deadlock detected!
E/TC:0 0 When trying to acquire lock 0xe1000020
E/TC:0 0 -> Shortest cycle:
E/TC:0 0 0xe1000010
E/TC:0 0 0xe1000020
E/TC:0 0 0xe1000010
E/TC:0 0 -> Thread 0 acquired lock 0xe1000020 at:
E/TC:0 0  0xe1010101
E/TC:0 0  ...after acquiring lock 0xe1000010 at:
E/TC:0 0  0xe1010202
E/TC:0 0 -> Thread 1 acquired lock 0xe1000010 at:
E/TC:0 0  0xe1030303
E/TC:0 0  ...after acquiring lock 0xe1000020 at:
E/TC:0 0  0xe1040404
"""
JAVA = """\
Found one Java-level deadlock:
=============================
"baker":
  waiting to lock monitor 0x00007f8c9c0062c8 (object 0x000000076ab0d0f0, a bakery.Oven),
  which is held by "cook"
"cook":
  waiting to lock monitor 0x00007f8c9c0038a8 (object 0x000000076ab0d100, a bakery.Tray),
  which is held by "baker"

Java stack information for the threads listed above:
===================================================
"baker":
\tat bakery.Oven.open(Oven.java:22)
\t- waiting to lock <0x000000076ab0d0f0> (a bakery.Oven)
\tat java.lang.Thread.run(Thread.java:745)
"cook":
\tat bakery.Tray.insert(Tray.java:12)
\t- waiting to lock <0x000000076ab0d100> (a bakery.Tray)

Found 1 deadlock.
"""
GO = """\
fatal error: all goroutines are asleep - deadlock!

goroutine 1 [semacquire]:
sync.runtime_Semacquire(0xc0000120a8)
\t/usr/local/go/src/runtime/sema.go:56 +0x42
main.bake(0xc0000120a0)
\t/src/bakery.go:14 +0x85

goroutine 18 [sync.Mutex.Lock]:
sync.(*Mutex).Lock(...)
\t/usr/local/go/src/sync/mutex.go:81
main.knead()
\t/src/bakery.go:30 +0x2b
exit status 2
"""
HELGRIND = """\
==1234== Thread #3: lock order "0x60106C before 0x601094" violated
==1234==
==1234== Observed (incorrect) order is: acquisition of lock at 0x601094
==1234==    at 0x4C2EE8F: mutex_lock_WRK (hg_intercepts.c:901)
==1234==    by 0x400801: bake (bakery.c:20)
==1234==
==1234==  followed by a later acquisition of lock at 0x60106C
==1234==    at 0x4C2EE8F: mutex_lock_WRK (hg_intercepts.c:901)
==1234==    by 0x40080F: bake (bakery.c:21)
==1234==
==1234== Required order was established by acquisition of lock at 0x60106C
==1234==    at 0x4C2EE8F: mutex_lock_WRK (hg_intercepts.c:901)
==1234==    by 0x4007C1: knead (bakery.c:10)
==1234==
==1234==  followed by a later acquisition of lock at 0x601094
==1234==    at 0x4C2EE8F: mutex_lock_WRK (hg_intercepts.c:901)
==1234==    by 0x4007CF: knead (bakery.c:11)
==1234==
==1234==  Address 0x60106c is 0 bytes inside data symbol "oven_lock"
==1234==  Address 0x601094 is 0 bytes inside data symbol "tray_lock"
"""


def one(text: str) -> LogReport:
    (report,) = read_text(text, "log")
    return report


@pytest.mark.parametrize(
    ("text", "reporter", "cycle", "functions"),
    [
        (TSAN, "tsan", ("M9", "M10", "M11"), ["knead", "rise", "bake"]),
        (BCC, "bcc-deadlock", ("main::oven", "M1"), ["knead", "bake"]),
        (OPENBSD, "witness", ("&ip->i_lock", "&map->lock"), ["uvmfault_lookup", "ufs_lock"]),
        (HELGRIND, "helgrind", ("oven_lock", "tray_lock"), ["knead", "bake"]),
        (JAVA, "java", None, ["bakery.Oven.open", "bakery.Tray.insert"]),
        (OPTEE, "op-tee", ("0xe1000010", "0xe1000020"), ["0xe1010101", "0xe1030303"]),
    ],
)
def test_the_circle_and_who_made_each_step(
    text: str, reporter: str, cycle: tuple[str, ...] | None, functions: list[str]
) -> None:
    report = one(text)
    assert (report.reporter, report.word, report.complete) == (reporter, "circular", True)
    if cycle is not None:
        assert report.cycle == cycle
    found = [
        next((f.function for f in s if not f.function.startswith(("mutex_lock", "rw_"))), "")
        for _, _, s in report.edges
    ]
    assert sorted(found) == sorted(functions)
    assert identity(report)


def test_freebsd_tells_two_locks_and_one_stack() -> None:
    report = one(FREEBSD)
    assert sorted(report.cycle) == ["devfs", "ufs"]
    assert [len(stack) for _, _, stack in report.edges] == [0, 2]


def test_go_tells_who_waits_where_and_no_circle() -> None:
    report = one(GO)
    assert (report.reporter, report.word, report.cycle) == ("go", "hung", ())
    assert report.message == "semacquire in main.bake; sync.Mutex.Lock in main.knead"


@pytest.mark.parametrize("text", [TSAN, BCC, OPENBSD, OPTEE, JAVA, HELGRIND])
def test_a_cut_report_has_no_other_circle(text: str) -> None:
    whole = set(one(text).cycle)
    lines = text.splitlines(keepends=True)
    for end in range(len(lines)):
        for report in read_text("".join(lines[:end]), "log"):
            # Helgrind says the symbols last: until then the same two locks are their addresses.
            cycle = {
                {"0x60106c": "oven_lock", "0x601094": "tray_lock"}.get(name, name) for name in report.cycle
            }
            assert not report.complete or cycle == whole


def test_addresses_and_numbers_are_no_part_of_the_identity() -> None:
    other = TSAN.replace("M9", "M77").replace("M10", "M78").replace("0x5589", "0x6699")
    assert identity(one(other)) == identity(one(TSAN))
    assert identity(one(TSAN.replace("knead", "stir"))) != identity(one(TSAN))
    moved = HELGRIND.replace("0x60106C", "0x70106C").replace("0x60106c", "0x70106c")
    assert identity(one(moved)) == identity(one(HELGRIND))


def test_words_alone_are_no_report() -> None:
    prose = (
        "We saw a lock order reversal: nobody knows why\nWARNING: ThreadSanitizer: "
        "lock-order-inversion (potential deadlock)\n"
        'It said "Potential Deadlock Detected!" once.\nFound one Java-level deadlock:\nfatal error: '
        "all goroutines are asleep\n"
    )
    assert read_text(prose, "log") == []
