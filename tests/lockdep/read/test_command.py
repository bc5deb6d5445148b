"""`sugarbush lockdep` on logs, /proc files and lock events."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from printed import Lock, circular

from sugarbush.lockdep import ReportKind
from sugarbush.lockdep.read import gather, read_stream, read_text, snapshot_of
from sugarbush.lockdep.read.events import Offline, event_of, feed_stream
from sugarbush.lockdep.read.procfs import between, judge, read_proc
from sugarbush.lockdep.read.waitfor import circles, told_waits, waits, waits_dot
from sugarbush.stress.cli.app import main

CASES = Path(__file__).parents[2] / "data" / "lock-reports"
KILN = [
    str(CASES / name) for name in ("11-three-locks.log", "12-three-locks-turned.log", "37-symbolised-qp.eml")
]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    said = capsys.readouterr()
    return int(exit_info.value.code or 0), said.out, said.err


def test_a_cycle_is_told_once_with_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = run(capsys, "lockdep", *KILN)
    assert status == 1
    for part in (
        "seen 3 times",
        "kernels 6.1.20-orchard, 5.10.2, 6.15.0-rc7-dirty",
        "other titles: possible deadlock in dough_rise; possible deadlock in kiln_flush",
        "The cycle, 3 locks:",
        "the step that closed it",
        "CPU2",
        "In plain words: 3 orders contradict each other",
        "Is there one lock that all steps hold outside",
        "a workqueue: does the work that takes the lock run on this very queue?",
        "3 reports in 3 logs: 1 different",
    ):
        assert part in said


def test_all_forms_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("r.sarif", "r.html", "r.svg", "r.py")
    sarif, html, svg, program = (tmp_path / name for name in names)
    options = [
        "--sarif",
        str(sarif),
        "--html",
        str(html),
        "--graph",
        str(svg),
        "--scenario",
        str(program),
        "--json",
    ]
    status, said, _ = run(capsys, "lockdep", *KILN, *options)
    assert status == 1
    (row,) = json.loads(said)["reports"]
    assert (row["kind"], row["seen"], row["logs"], len(row["edges"])) == ("circular", 3, 3, 3)
    assert [edge["closing"] for edge in row["edges"]] == [False, False, True]
    result = json.loads(sarif.read_text())["runs"][0]["results"][0]
    assert result["partialFingerprints"] == {"sugarbushLockdep/v1": row["identity"]}
    assert len(result["codeFlows"][0]["threadFlows"][0]["locations"]) == 3
    page = html.read_text()
    assert page.index("<svg") < page.index("<table")
    assert svg.read_text().count('stroke="#c00"') == 3
    status, said, _ = run(
        capsys, "--load", str(program), "run", row["identity"], "--out", str(tmp_path / "out")
    )
    assert status == 1
    assert "deadlock: a circle of waits" in said


def test_a_baseline_lets_only_new_reports_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = tmp_path / "known.json"
    known.write_text(run(capsys, "lockdep", *KILN, "--json")[1])
    assert run(capsys, "lockdep", KILN[1], "--baseline", str(known))[0] == 0
    two = str(CASES / "39-two-machines.log")
    status, said, _ = run(capsys, "lockdep", two, "--baseline", str(known))
    assert (status, "1 new" in said, "&tray->slot_lock" in said) == (1, True, True)
    identities = [row["identity"] for row in json.loads(run(capsys, "lockdep", two, "--json")[1])["reports"]]
    known.write_text("# as a list\n" + "\n".join(identities))
    assert run(capsys, "lockdep", two, "--baseline", str(known))[0] == 0
    # A cut report is known again by the one order that it still tells.
    known.write_text(run(capsys, "lockdep", two, "--json")[1])
    assert run(capsys, "lockdep", str(CASES / "35-cut-in-the-chain.log"), "--baseline", str(known))[0] == 0
    assert run(capsys, "lockdep", str(CASES / "36-cut-at-the-top.log"), "--baseline", str(known))[0] == 1
    known.write_text("nonsense")
    assert run(capsys, "lockdep", two, "--baseline", str(known))[0] == 2


def test_directories_standard_input_and_compressed_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (CASES / "11-three-locks.log").read_bytes()
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(data))
    (tmp_path / "b.log").write_bytes((CASES / "40-nothing.txt").read_bytes())
    status, said, _ = run(capsys, "lockdep", str(tmp_path))
    assert (status, "1 reports in 1 logs" in said) == (1, True)
    # Artifacts make it a directory of artifacts, whatever else the run has left there.
    (tmp_path / "found.json").write_text('{"sugarbush": 2}')
    assert "artifact" in run(capsys, "lockdep", str(tmp_path))[2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))  # type: ignore[arg-type]
    assert "seen at -:3" in run(capsys, "lockdep", "-")[1]
    assert run(capsys, "lockdep", str(CASES / "40-nothing.txt"))[:2] == (0, "no lock report found\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x.log", "--identity", "circular-0"], "--identity says which report --scenario writes"),
        (["x.log", "--across"], "--across means nothing without --join"),
        ([str(CASES / "28-rcu-then-sleep.log"), "--scenario", "x.py"], "no whole cycle"),
        ([KILN[0], "--scenario", "x.py", "--identity", "circular-0"], "no report there has the identity"),
    ],
)
def test_what_means_nothing_is_refused(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, said = run(capsys, "lockdep", *arguments)
    assert (status, complaint in said, said.count("\n")) == (2, True, 1)


def test_orders_of_several_reports_are_joined_within_one_kernel_only() -> None:
    from sugarbush.lockdep.read.join import joined

    def log(first: str, second: str, third: str, release: str) -> Any:
        return read_text("\n".join(circular([Lock(first), Lock(second), Lock(third)], release=release)), "x")[
            0
        ]

    # a -> b -> c -> a and c -> b -> d -> c: together b -> c -> b, which neither tells.
    same = [log("a", "b", "c", "6.1.0"), log("c", "b", "d", "6.1.0")]
    other = [log("a", "b", "c", "6.1.0"), log("c", "b", "d", "6.2.0")]
    assert [report.cycle for report in joined(same)] == [("b", "c")]
    assert list(joined(other)) == []
    assert [report.cycle for report in joined(other, across=True)] == [("b", "c")]


CHAINS = """all lock chains:
irq_context: 0
[ffffffff81000000] gate
[ffffffff81000010] &a->lock
[ffffffff81000020] &b->lock

irq_context: 0
[ffffffff81000000] gate
[ffffffff81000020] &b->lock
[ffffffff81000010] &a->lock

"""


def test_chains_of_the_same_boot_judge_gate_locks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = read_proc(CHAINS, "chains")
    found = between([snapshot], "&a->lock", "&b->lock")
    assert (found.forwards, found.backwards) == (("&a->lock", "&b->lock"), ("&b->lock", "&a->lock"))
    assert len(found.chains) == 2
    verdict = judge(["&a->lock#2", "&b->lock"], snapshot)
    assert (verdict.possible, verdict.guards) == (False, ("gate",))
    open_chains = CHAINS.replace("[ffffffff81000000] gate\n", "", 1)
    assert judge(["&a->lock", "&b->lock"], read_proc(open_chains, "chains")).possible
    assert str(judge(["&x", "&y"], snapshot)) == "not in these chains"
    chains, log = tmp_path / "lockdep_chains", tmp_path / "x.log"
    chains.write_text(CHAINS)
    log.write_text("\n".join(circular([Lock("&a->lock"), Lock("&b->lock")])))
    assert "is guarded by gate" in run(capsys, "lockdep", str(log), "--proc", str(chains))[1]
    status, said, _ = run(capsys, "lockdep", str(chains), "--between", "&a->lock", "&b->lock")
    assert (status, "both orders exist" in said) == (1, True)
    assert run(capsys, "lockdep", str(chains), "--between", "&a->lock", "nothing")[0] == 2


def test_proc_lockdep_and_lock_stat_are_read_back() -> None:
    text = """all lock classes:
ffffffff81000000 OPS:      12 FD:    2 BD:    1 +.+.: &a->lock
 -> [ffffffff81000010] &b->lock

ffffffff81000010 FD:    1 BD:    2 ....: &b->lock
"""
    snapshot = read_proc(text, "lockdep")
    assert [(row.name, row.operations, row.forward, row.after) for row in snapshot.classes] == [
        ("&a->lock", 12, 2, (1,)),
        ("&b->lock", 0, 1, ()),
    ]
    stat = (
        "lock_stat version 0.4\n---\n"
        "   &a->lock:     1     2     0.10     0.20     0.30     0.15     3     40     0.1     9.5     11.0     0.5\n"
    )
    (row,) = read_proc(stat, "lock_stat").lock_stat
    assert (row["name"], row["contentions"], row["waittime-max"], row["acquisitions"]) == (
        "&a->lock",
        2,
        0.2,
        40,
    )


HANG = """[  200.000001][   T40] INFO: task cook:99 blocked for more than 143 seconds.
[  200.000002][   T40]       Not tainted 6.1.20 #3
[  200.000003][   T40] Call Trace:
[  200.000004][   T40]  __schedule+0x1/0x2
[  200.000005][   T40]  oven_open_door+0x1/0x2
[  200.000006][   T40]  </TASK>
[  200.000007][   T40] Showing all locks held in the system:
[  200.000008][   T40] 1 lock held by khungd/40:
[  200.000009][   T40]  #0: ffff8881f2e7351d (rcu_read_lock){....}-{0:0}, at: show_all_locks+0x6d9/0x196c
[  200.000010][   T40] 2 locks held by cook/99:
[  200.000011][   T40]  #0: ffff88815e841616 (&tray->slot_lock){+.+.}-{3:3}, at: tray_insert+0xbe6/0x2149
[  200.000012][   T40]  #1: ffff8881d291a421 (&oven->door_lock){+.+.}-{3:3}, at: oven_open_door+0xce1/0x1195
[  200.000013][   T40] 2 locks held by baker/7:
[  200.000014][   T40]  #0: ffff8881d291a421 (&oven->door_lock){+.+.}-{3:3}, at: oven_flush+0x19b/0x1866
[  200.000015][   T40]  #1: ffff88815e841616 (&tray->slot_lock){+.+.}-{3:3}, at: tray_insert+0xbe6/0x2149
[  200.000016][   T40] 1 lock held by cat/8:
[  200.000017][   T40]  #0: ffff8881d291a421 (&oven->door_lock){+.+.}-{3:3}, at: oven_peek+0x19b/0x1866
[  200.000018][   T40]
[  200.000019][   T40] =============================================
"""


def test_who_waits_for_whom_and_the_circle() -> None:
    reports = read_text(HANG, "dmesg")
    found = {(str(wait.waiter), str(wait.holder), wait.sure) for wait in waits(reports)}
    assert found == {("cook/99", "baker/7", True), ("cat/8", "baker/7", True), ("baker/7", "cook/99", True)}
    (ring,) = circles(waits(reports))
    assert {str(wait.waiter) for wait in ring} == {"cook/99", "baker/7"}
    assert "a circle: " in told_waits(reports)
    assert waits_dot(reports).count("color=red") == 2
    # Two tasks whose last line is one lock: only if one of them is known to be blocked does the list say anything.
    lines = HANG.splitlines(keepends=True)
    two = "".join(
        line for line in lines if "slot_lock" not in line and "cat/8" not in line and "oven_peek" not in line
    )
    assert [(str(w.waiter), str(w.holder), w.sure) for w in waits(read_text(two, "x"))] == [
        ("cook/99", "baker/7", False)
    ]
    assert waits(read_text("".join(two.splitlines(keepends=True)[6:]), "x")) == ()


def event(task: str, what: str, lock: str, **more: Any) -> dict[str, Any]:
    return {"task": task, "event": what, "lock": lock, "class": f"&{lock}->lock", **more}


def fed(*events: dict[str, Any]) -> list[ReportKind]:
    offline = Offline()
    for one in events:
        offline.feed(one)
    return [report.kind for report in offline.lockdep.reports]


def nested(task: str, first: str, second: str, **more: Any) -> list[dict[str, Any]]:
    return [
        event(task, "acquire", first, **more),
        event(task, "acquire", second, **more),
        event(task, "release", second, **more),
        event(task, "release", first, **more),
    ]


def test_events_are_validated_and_it_goes_on_after_a_report() -> None:
    assert fed(*nested("a", "x", "y"), *nested("b", "y", "x")) == ["circular-locking"]
    assert fed(
        *nested("a", "x", "y"), *nested("b", "y", "x"), *nested("a", "v", "w"), *nested("b", "w", "v")
    ) == [
        "circular-locking",
        "circular-locking",
    ]
    assert fed(event("a", "acquire", "x"), event("a", "acquire", "x", subclass=1)) == []
    assert fed(event("a", "acquire", "x"), event("a", "acquire", "x")) == ["recursive-locking"]
    assert fed(event("a", "acquire", "x", read=2), event("a", "acquire", "x", read=2)) == []
    assert (
        fed(*nested("a", "x", "y"), event("b", "acquire", "y"), event("b", "acquire", "x", **{"try": True}))
        == []
    )


def test_interrupts_of_events() -> None:
    handler = [event("a", "acquire", "x", irq="hardirq"), event("a", "release", "x", irq="hardirq")]
    assert fed(*handler, event("b", "acquire", "x")) == ["inconsistent-lock-state"]
    assert fed(*handler, event("b", "acquire", "x", irq="hardirqs-off")) == []
    soft = [event("a", "acquire", "x", irq="softirq"), event("a", "release", "x", irq="softirq")]
    assert fed(*soft, event("b", "acquire", "x", irq="bh-off")) == []
    assert fed(*soft, event("b", "acquire", "x")) == ["inconsistent-lock-state"]
    # A handler on top of a handler; what takes such a lock has both kinds off.
    both = [event("a", what, "x", irq="softirq|hardirq") for what in ("acquire", "release")]
    in_soft = [event("a", what, "x", irq="softirq|hardirqs-off") for what in ("acquire", "release")]
    late = [event("a", "acquire", "y"), event("b", "acquire", "x", irq="hardirqs-off|bh-off")]
    assert fed(*both, *handler, *in_soft, *late) == []
    assert fed(*both, *handler, *soft) == ["inconsistent-lock-state"]


def test_what_began_before_the_events_is_no_bad_unlock() -> None:
    offline = Offline()
    for one in (event("a", "release", "x"), *nested("a", "x", "y")):
        offline.feed(one)
    assert (offline.lockdep.reports, offline.passed_over) == ([], 1)


def test_a_raw_tracepoint_becomes_an_event() -> None:
    fields = {
        "lock": "ff",
        "lock_name": "&x",
        "subclass": 1,
        "trylock": 0,
        "read": 2,
        "check": 1,
        "nest_lock": 0,
        "ip": "f",
        "comm": "c",
        "pid": 3,
    }
    assert event_of("lock_acquire", fields) == {
        "task": "c",
        "pid": 3,
        "event": "acquire",
        "lock": "ff",
        "irq": "",
        "class": "&x",
        "subclass": 1,
        "read": 2,
        "try": False,
        "check": True,
        "nest": None,
        "site": "f",
    }


def test_events_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.jsonl"
    rows = [json.dumps(one) for one in (*nested("a", "x", "y"), *nested("b", "y", "x"))]
    path.write_text("\n".join(rows) + '\n{"cut')
    status, said, _ = run(capsys, "lockdep", "--events", str(path))
    assert (status, "possible circular locking" in said) == (1, True)
    path.write_text("\n".join([rows[0], '{"task": "a"}', rows[1]]) + "\n")
    status, _, complaint = run(capsys, "lockdep", "--events", str(path))
    assert (status, "line 2: the event has no 'event'" in complaint) == (2, True)
    path.write_text("# tracer: nop\n  cook-1 [000] d..1 1.0: lock_acquire: 00ff read &x->lock\n")
    status, _, complaint = run(capsys, "lockdep", "--events", str(path))
    assert (status, "text of ftrace" in complaint) == (2, True)


def test_memory_of_events_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sugarbush.lockdep.read.events.LOCKS", 500)
    monkeypatch.setattr("sugarbush.lockdep.read.events.TASKS", 50)
    monkeypatch.setattr("sugarbush.lockdep.read.events.SITES", 50)
    rows = []
    for at in range(4000):
        one = {"task": "t", "pid": at, "lock": f"l{at}", "class": f"c{at % 3}", "site": f"s{at}"}
        rows += [json.dumps({**one, "event": "acquire"}), json.dumps({**one, "event": "release"})]
    offline = feed_stream(io.BytesIO("\n".join(rows).encode() + b"\n"), "x")
    assert offline.events == 8000
    assert max(len(offline._locks), len(offline._tasks), len(offline._sites)) <= 500
    assert offline.lockdep.reports == []


def test_a_snapshot_of_logs_is_one_of_ours() -> None:
    reports = [report for path in KILN for report in read_stream(io.BytesIO(Path(path).read_bytes()), path)]
    snapshot = snapshot_of(one.report for one in gather(reports))
    assert len(snapshot.edges) == 3
    assert [row.kind for row in snapshot.reports] == ["circular-locking"]
