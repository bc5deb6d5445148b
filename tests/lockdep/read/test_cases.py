"""The 44 made-up reports of tests/data/lock-reports: what each holds, whatever the log went through, and never more."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from disguises import DISGUISES, bare
from hypothesis import given, settings
from hypothesis import strategies as st
from printed import Lock, circular

from sugarbush.lockdep.read import LogReport, gather, identity, plain, read_stream, read_text, turned

CASES = Path(__file__).parents[2] / "data" / "lock-reports"
INDEX: list[dict[str, Any]] = json.loads((CASES / "index.json").read_text())
ORDERS = ("circular", "recursive", "irq-order", "inversion", "inconsistent")


def read(data: bytes) -> list[LogReport]:
    return list(read_stream(io.BytesIO(data), "log"))


def as_text(report: LogReport) -> dict[str, Any]:
    said = report.to_json()
    return {
        "kind": said["kind"],
        "cycle": said["cycle"],
        "stacks": len(said["stacks"]),
        "title": said["title"],
        "held": len(said["held"]),
        "complete": said["complete"],
    }


def orders(data: bytes) -> set[str]:
    """The identities of all whole reports that are about an order or a state of locks."""
    return {report.key for report in read(data) if report.complete and report.word in ORDERS}


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_what_a_log_holds(entry: dict[str, Any]) -> None:
    found = [as_text(report) for report in read((CASES / entry["file"]).read_bytes())]
    assert found == [{**want, "cycle": want["cycle"]} for want in entry["reports"]]


def test_one_cycle_is_one_identity() -> None:
    groups: dict[str, set[str]] = {}
    for entry in INDEX:
        reports = read((CASES / entry["file"]).read_bytes())
        for group, report in zip(entry.get("same_cycle_as", "").split("+"), reports, strict=False):
            if group and report.complete:
                groups.setdefault(group, set()).add(identity(report))
    assert {group: len(ids) for group, ids in groups.items()} == {"oven-tray": 1, "kiln": 1}
    assert len(set.union(*groups.values())) == 2


# Cut, disguised or stamped otherwise already.
PLAIN = [
    entry
    for entry in INDEX
    if entry["file"][:2]
    not in ("17", "22", "23", "25", "27", "29", "30", "31", "34", "35", "36", "37", "38", "39", "40")
]


@pytest.mark.parametrize("name", DISGUISES)
def test_a_disguise_changes_nothing(name: str) -> None:
    for entry in PLAIN:
        lines = [
            line.lstrip() if line.startswith(" " * 15) and "lock(" not in line else line
            for line in bare((CASES / entry["file"]).read_bytes())
        ]
        before = [as_text(report) for report in read(("\n".join(lines) + "\n").encode())]
        assert [as_text(report) for report in read(DISGUISES[name](lines))] == before, entry["file"]


@settings(max_examples=60)
@given(data=st.data())
def test_what_is_cut_or_lost_never_closes_another_cycle(data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(INDEX))
    lines = (CASES / entry["file"]).read_bytes().splitlines(keepends=True)
    whole = orders(b"".join(lines))
    first = data.draw(st.integers(0, len(lines)))
    last = data.draw(st.integers(first, len(lines)))
    assert orders(b"".join(lines[:first])) <= whole
    assert orders(b"".join(lines[:first] + lines[last:])) <= whole
    chance = random.Random(data.draw(st.integers(0, 9999)))
    kept = [line for line in lines if chance.random() < 0.9]
    assert orders(b"".join(kept)) <= whole


@settings(max_examples=40)
@given(data=st.data())
def test_two_reports_that_run_into_each_other_close_no_third_cycle(data: st.DataObject) -> None:
    """The end of one is lost, and the beginning of the next: what is left may look like one."""
    names = ["&a->lock", "b_mutex", "&c->lock#2", "d_lock/1", "&e->sem"]
    rings = [data.draw(st.permutations(names))[: data.draw(st.integers(2, 4))] for _ in range(2)]
    texts = [circular([Lock(name) for name in ring], task="cook/1") for ring in rings]
    whole = {turned(tuple(ring)) for ring in rings}
    one = data.draw(st.integers(1, len(texts[0])))
    other = data.draw(st.integers(0, len(texts[1]) - 1))
    for report in read_text("\n".join(texts[0][:one] + texts[1][other:]), "log"):
        assert not report.complete or turned(report.cycle) in whole


@settings(max_examples=40)
@given(data=st.data())
def test_addresses_numbers_order_and_kernel_are_no_part_of_the_identity(data: st.DataObject) -> None:
    names = data.draw(
        st.lists(
            st.sampled_from(["&a->lock", "&b->lock", "c_mutex", "&d->sem", "e_lock"]),
            min_size=2,
            max_size=5,
            unique=True,
        )
    )
    number = data.draw(st.integers(2, 40))
    first = circular([Lock(f"{name}#{number}") for name in names], seed=1)
    turn = data.draw(st.integers(0, len(names) - 1))
    second = circular(
        [Lock(name) for name in names],
        turn=turn,
        seed=data.draw(st.integers(2, 99)),
        release="5.4.1",
        task="init/1",
    )
    name = data.draw(st.sampled_from(sorted(set(DISGUISES) - {"wrapped-78", "wrapped-72-quoted"})))
    one, other = read_text("\n".join(first), "a"), read(DISGUISES[name](second))
    assert [identity(report) for report in one] == [identity(report) for report in other] != [""]
    if len(names) > 2:
        (back,) = read_text("\n".join(circular([Lock(name) for name in reversed(names)])), "b")
        assert identity(back) != identity(one[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("&(&x->lock)->rlock", "&x->lock"),
        ("&(&x->lock)->rlock#3", "&x->lock#3"),
        ("(&x->work)", "(work_completion)(&x->work)"),
        ("(&(&x->work)->work)", "(work_completion)(&(&x->work)->work)"),
        ("(wq_completion)name7", "(wq_completion)name12"),
        ("&mm->mmap_sem", "&mm->mmap_lock"),
        ("&mm->mmap_sem/1", "&mm->mmap_lock/1"),
        ("__key.123", "__key.7"),
    ],
)
def test_spellings_of_one_class(old: str, new: str) -> None:
    assert plain(old) == plain(new)


def test_two_classes_of_one_name_are_two_and_a_subclass_is_another_one() -> None:
    assert turned(("&t->key#41", "&t->key#23/1", "a")) == turned(("&t->key#7", "&t->key#9/1", "a"))
    assert turned(("&t->key#41", "&t->key#41/1", "a")) != turned(("&t->key#41", "&t->key#23/1", "a"))
    assert turned(("a/1", "b")) != turned(("a", "b"))


@pytest.mark.parametrize("count", [120, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_many_logs_are_as_many_findings_as_they_have_cycles(count: int) -> None:
    chance = random.Random(5)
    locks = [Lock(f"&{word}->lock") for word in ("oven", "tray", "dough", "menu", "jar", "bell")]
    cycles = [locks[:2], locks[:3], locks[1:3], locks[2:6], locks[::2], locks[::-1]]
    names = sorted(DISGUISES)
    reports: list[LogReport] = []
    for at in range(count):
        cycle = cycles[at % len(cycles)]
        lines = circular(
            cycle, turn=chance.randrange(len(cycle)), seed=at + 1, release=f"6.{at % 9}.{at % 5}"
        )
        reports += read(DISGUISES[chance.choice(names)](lines))
    findings = gather(reports)
    assert sorted(one.count for one in findings) == sorted(len(range(at, count, 6)) for at in range(6))
    assert all(one.identity for one in findings)
