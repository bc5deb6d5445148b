"""Litmus tests: each file of ours gives the verdict of the kernel's model, and what is no test is refused in words."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from litmus_axioms import final_states, observed

from sugarbush.concurrency import Settings, explore
from sugarbush.stress.cli.app import main
from sugarbush.stress.litmus import BadLitmus, Litmus, build, check
from sugarbush.stress.litmus.check import WITHOUT
from sugarbush.stress.litmus.engine import OBSERVED, program
from sugarbush.stress.litmus.source import parse, read

TESTS = Path(__file__).parents[3] / "stress" / "litmus" / "tests"
FILES = sorted(TESTS.glob("*.litmus"))
# The longer comparisons take each file; this is what a run of the suite looks at more closely.
SOME = FILES[::6]
LB = "load buffering is not modelled"


def test_there_are_enough_and_the_exceptions_are_of_one_kind() -> None:
    tests = [read(path) for path in FILES]
    assert len(tests) >= 380
    assert sum("rcu" in path.read_text(encoding="utf-8") for path in FILES) >= 60
    assert all(test.says is not None for test in tests)
    assert all(test.name == test.path.stem for test in tests)
    others = [test for test in tests if test.says_here is not None]
    assert len(others) == 14
    assert all(test.says == "Sometimes" and test.says_here == "Never" and LB in test.why for test in others)


def test_each_file_of_ours_is_answered_as_it_says_and_shown_by_the_engine() -> None:
    wrong, unshown = [], []
    for path in FILES:
        outcome = check(read(path))
        if outcome.agrees is not True or outcome.verdict != outcome.test.expected:
            wrong.append((path.stem, outcome.observed))
        if outcome.verdict in ("Allowed", "Failed") and outcome.witness is None:
            unshown.append(path.stem)
        elif outcome.verdict == "Allowed":
            assert outcome.witness is not None
            assert outcome.witness.failure.headline == OBSERVED
    assert not wrong
    # smp_mb__after_unlock_lock() where nothing was unlocked is a full barrier for the engine.
    assert unshown == ["SB+lockmb-nounlock"]


@pytest.mark.parametrize("path", SOME, ids=lambda path: path.stem)
def test_the_final_states_are_those_of_the_axioms(path: Path) -> None:
    _compare_with_axioms(path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_files_are_as_the_axioms_say(path: Path) -> None:
    test = _compare_with_axioms(path)
    if test.says != "DEADLOCK":
        assert test.says == observed(test, final_states(test, loads_wait=False))


def _compare_with_axioms(path: Path) -> Litmus:
    test = read(path)
    outcome = check(test)
    states = final_states(test, loads_wait=True)
    assert outcome.observed == observed(test, states)
    if outcome.all_states:
        assert {tuple(value for _, value in state) for state in outcome.states} == states
    return test


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_engine_sees_the_same_final_states(path: Path) -> None:
    test = read(path)
    if "(r0 & 0)" in test.text or "after_unlock_lock" in test.text:
        pytest.skip("the engine knows no dependency of a computed address")
    outcome = check(test)
    if not outcome.all_states:
        pytest.skip("not all final states were looked for")
    seen: dict[tuple[Any, ...], None] = {}
    built = build(test)
    settings = Settings(memory="weak", without=WITHOUT)
    result = explore(
        program(built, asks=False, seen=seen),
        strategy="dpor",
        keep_going=True,
        executions=20_000,
        settings=settings,
    )
    states = {tuple(value for _, value in state) for state in outcome.states}
    assert set(seen) <= states
    assert not result.exhaustive or set(seen) == states


@pytest.mark.parametrize("path", SOME, ids=lambda path: path.stem)
def test_under_sequential_consistency_nothing_more_is_allowed(path: Path) -> None:
    test = read(path)
    if check(test, memory="sc").verdict == "Allowed":
        assert test.expected == "Allowed"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["litmus", *arguments])
    told = capsys.readouterr()
    return int(str(exit_info.value.code)), told.out, told.err


def test_an_allowed_test_comes_with_a_witness(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, str(TESTS / "SB+poonceonces.litmus"))
    assert status == 0
    assert "SB+poonceonces: Allowed" in out
    assert "r0 = READ_ONCE(*y) -> 0" in out
    assert "schedule: s1:" in out


def test_several_tests_are_told_in_a_line_each_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(TESTS / f"{name}.litmus") for name in ("LB+poonceonces", "SB+fencembonceonces")]
    status, out, _ = run(capsys, *files, "--json")
    assert status == 0
    assert "the kernel's model says Allowed: " in out
    first, second = json.loads(out.splitlines()[-1])["tests"]
    assert (first["name"], first["verdict"], first["kernel"]) == ("LB+poonceonces", "Forbidden", "Allowed")
    assert (second["verdict"], second["exhaustive"], second["schedule"]) == ("Forbidden", True, None)
    assert {"0:r0": 0, "1:r0": 1} in second["states"]


BROKEN_RULE = """C two
{}
P0(int *x) { WRITE_ONCE(*x, 1); }
P1(int *x) { int r0; r0 = READ_ONCE(*x); }
(* Result: Never *)
exists (1:r0=1)
"""


def test_a_verdict_that_the_file_does_not_expect_is_status_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "two.litmus"
    file.write_text(BROKEN_RULE, encoding="utf-8")
    status, out, _ = run(capsys, str(file))
    assert status == 1
    assert "the file says Forbidden" in out
    file.write_text(BROKEN_RULE.replace("(* Result: Never *)", ""), encoding="utf-8")
    assert run(capsys, str(file))[0] == 0


def verdict(source: str) -> str:
    return check(parse("C t\n" + source, Path("t.litmus"))).verdict


def test_the_forms_of_the_question() -> None:
    two = "{} P0(int *x) { WRITE_ONCE(*x, 1); } P1(int *x) { int r0 = READ_ONCE(*x); }\n"
    assert verdict(two + "exists (1:r0=1)") == "Allowed"
    assert verdict(two + "~exists (1:r0=2)") == "Forbidden"
    assert verdict(two + "forall (1:r0=1)") == "Allowed"
    assert verdict(two + "forall (x=1 /\\ (1:r0=0 \\/ 1:r0=1))") == "Forbidden"
    assert verdict(two + "filter (1:r0=0) exists (1:r0=1)") == "Forbidden"
    assert verdict(two + "locations [x; 1:r0] exists (not (x=1) \\/ ~true)") == "Forbidden"
    assert verdict(two + "exists (1:r0!=1)") == "Allowed"


def test_expressions_and_branches_mean_what_they_mean_in_c() -> None:
    body = """
    int r0 = 0x10, r1; int r2;
    r1 = (r0 - 6 == 10) && !(r0 < 3) || 0;
    if (r1) { r2 = ~0 ^ -1; } else r2 = 7;
    if (r2 == 0) WRITE_ONCE(*x, (int)(r0 | 1)); else if (r0) ;
    r0 = atomic_fetch_add(2, n);
    r1 = atomic_sub_return(1, n);
    r2 = atomic_cmpxchg(n, 4, 9);
    """
    source = f"{{ atomic_t n = ATOMIC_INIT(3); 0:r9=5; }} P0(int *x, atomic_t *n) {{ {body} }}\n"
    asked = "x=17 /\\ n=9 /\\ 0:r0=3 /\\ 0:r1=4 /\\ 0:r2=4 /\\ 0:r9=5"
    assert verdict(source + f"forall ({asked})") == "Forbidden"


def test_unmarked_accesses_are_told_when_they_race() -> None:
    source = "C t\n{} P0(int *x) { *x = 1; } P1(int *x) { int r0 = *x; }\nexists (1:r0=1)"
    outcome = check(parse(source, Path("t.litmus")))
    assert outcome.verdict == "Allowed"
    assert outcome.race is not None
    assert "data-race in x.v" in outcome.race


def test_a_null_pointer_is_a_failure() -> None:
    source = "{ int *p; int x; } P0(int **p) { int *r0; int r1; r0 = READ_ONCE(*p); r1 = READ_ONCE(*r0); }\n"
    outcome = check(parse("C t\n" + source + "exists (0:r1=0)", Path("t.litmus")))
    assert outcome.verdict == "Failed"
    assert outcome.witness is not None
    assert "NULL pointer dereference: r0 is 0" in outcome.witness.failure.headline


GOOD = "C t\n{}\nP0(int *x, spinlock_t *s)\n{\n\tint r0;\n\tr0 = READ_ONCE(*x);\n}\nexists (0:r0=1)\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("C t\n", "X86 t\n", "t.litmus: a litmus test begins with 'C' and its name"),
        ("READ_ONCE(*x);", "READ_ONCE(*x)", "line 7: ';' is missing before '}"),
        ("READ_ONCE(*x)", "READ_TWICE(*x)", "line 6: READ_TWICE() is not known here"),
        ("READ_ONCE(*x)", "READ_ONCE(x)", "line 6: READ_ONCE() takes a location, as in READ_ONCE(*x)"),
        ("READ_ONCE(*x)", "READ_ONCE(*y)", "line 6: y is neither a location nor a register that was set"),
        ("READ_ONCE(*x)", "smp_mb(r0)", "line 6: smp_mb() takes 0 arguments, not 1"),
        ("READ_ONCE(*x)", "spin_trylock(x)", "line 6: spin_trylock() takes a spinlock"),
        ("r0 = READ", "x = READ", "line 6: x is a location: *x writes to it"),
        ("(0:r0=1)", "(1:r0=1)", "line 8: there is no process P1"),
        ("(0:r0=1)", "(z=1)", "line 8: there is no location z"),
        ("(0:r0=1)", "(0:r0=1", "the test ends too early"),
        ("exists (0:r0=1)", "", "t.litmus asks nothing: it has no exists, ~exists or forall"),
        ("P0(int *x, spinlock_t *s)", "P0(int *x) { }\nP0(int *x)", "line 4: there are two processes P0"),
    ],
)
def test_what_is_no_test_is_refused_with_its_line(
    old: str, new: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert old in GOOD
    file = tmp_path / "t.litmus"
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    status, _, err = run(capsys, str(file))
    assert status == 2
    assert err.count("\n") == 1
    assert says in err


UNLIKE = [
    ("exists (0:r0=1)", "exists (0:r0=1) exists (0:r0=0)", "line 8: the test asks two questions"),
    ("{}", "{ x=1; x=2; }", "line 2: x has two initial values"),
    ("{}", "{ x=09; }", "line 2: 09 is no number: one that begins with 0 is octal"),
    ("{}", "{ x=" + "9" * 6000 + "; }", "line 2: the number 999999999999... is too large"),
    ("READ_ONCE(*x)", "(" * 5000 + "1" + ")" * 5000, "line 6: this is nested too deep"),
    ("READ_ONCE(*x)", "1" + "+1" * 5000, "line 6: more than 300 operators in a row"),
    ("READ_ONCE(*x)", "!" * 9000 + "1", "line 6: this is nested too deep"),
    ("(0:r0=1)", "(" * 5000 + "0:r0=1" + ")" * 5000, "line 8: this is nested too deep"),
    ("r0 = READ_ONCE(*x);", "{" * 5000, "line 6: this is nested too deep"),
    ("r0 = READ_ONCE(*x);", "r0 = READ_ONCE(*x);" * 3000, "the test is longer than any"),
    ("r0 = READ_ONCE(*x);", "while (r0) ;", "line 6: while is not supported here"),
    ("r0 = READ_ONCE(*x);", "r0 = x->next;", "line 6: fields of structures are not supported here"),
    ("r0 = READ_ONCE(*x);", "r0 = x < 1;", "line 6: < has no meaning for these values"),
    ("r0 = READ_ONCE(*x);", "r0 = -x;", "line 6: - has no meaning for these values"),
    ("r0 = READ_ONCE(*x);", "r0 = 1 / (r0 - r0);", "line 6: / divides by zero"),
    ("r0 = READ_ONCE(*x);", "r0 = atomic_add_return(x, x);", "line 6: an address is no number"),
    ("r0 = READ_ONCE(*x);", "/* r0 = READ_ONCE(*x);", "line 6: this comment does not end"),
    ("{}", "(* a comment {}", "line 2: this comment does not end"),
    ("{}", "int x = 5; {}", "line 2: this is not understood: 'int x = 5;'"),
    ("C t\n{}", "C t\n", "line 4: the initial state, as {}, is missing"),
    ("P0(", "P0(\x00", "line 3: this is not understood"),
]


@pytest.mark.parametrize(("old", "new", "says"), UNLIKE, ids=lambda text: text[:20])
def test_whatever_is_no_test_is_one_line_with_its_place(
    old: str, new: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "t.litmus"
    file.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    status, _, err = run(capsys, str(file))
    assert status == 2
    assert err.count("\n") == 1
    assert says in err


def test_no_part_of_a_test_is_a_traceback() -> None:
    for path in FILES[::40]:
        text = path.read_text(encoding="utf-8")
        for at in range(0, len(text), 7):
            for damaged in (text[:at], text[:at] + text[at + 9 :], text[:at] + "(*" + text[at:]):
                try:
                    build(parse(damaged, path))
                except BadLitmus as error:
                    says = str(error)
                else:
                    says = ""
                assert "\n" not in says


def answer(source: str) -> str | None:
    outcome = check(parse("C t\n" + source, Path("t.litmus")))
    assert outcome.verdict == "Forbidden" or outcome.witness is not None
    return outcome.observed


def test_locks_and_atomics_are_those_of_the_kernels_model() -> None:
    lock = "{} P0(int *x, spinlock_t *s) { %s } P1(int *x, spinlock_t *s) { int r0; int r1; %s }\n"
    wmb = "WRITE_ONCE(*x, 1); smp_wmb(); spin_lock(s); spin_unlock(s);"
    fails = "r0 = spin_trylock(s); smp_rmb(); r1 = READ_ONCE(*x);"
    assert answer(lock % (wmb, fails) + "exists (1:r0=0 /\\ 1:r1=0)") == "Never"
    unordered = "spin_lock(s); spin_unlock(s); WRITE_ONCE(*x, 1);"
    later = "r0 = READ_ONCE(*x); r1 = spin_trylock(s);"
    assert answer(lock % (unordered, later) + "exists (1:r0=1 /\\ 1:r1=0)") == "Sometimes"
    atomic = "{} P0(int *x, atomic_t *y) { WRITE_ONCE(*x, 1); smp_wmb(); atomic_set(y, 4); }\n"
    atomic += "P1(int *x, atomic_t *y) { int r0; atomic_inc(y); smp_rmb(); r0 = READ_ONCE(*x); }\n"
    assert answer(atomic + "exists (y=5 /\\ 1:r0=0)") == "Sometimes"


def test_a_dependency_belongs_to_the_address() -> None:
    source = "{ int *p=&z; } P0(int *x, int **p) { WRITE_ONCE(*x, 1); rcu_assign_pointer(*p, x); }\n"
    source += "P1(int *x, int **p) { int *r0; int r1; r0 = rcu_dereference(*p); r1 = READ_ONCE(*%s); }\n"
    assert answer(source % "x" + "exists (1:r0=x /\\ 1:r1=0)") == "Sometimes"
    assert answer(source % "r0" + "exists (1:r0=x /\\ 1:r1=0)") == "Never"
    assert answer(source % "(x + (r0 ^ r0))" + "exists (1:r0=x /\\ 1:r1=0)") == "Never"


def test_a_reader_may_be_ended_by_another_process() -> None:
    source = "{} P0(struct srcu_struct *s, int *i, int *x)\n"
    source += "{ int r0; r0 = srcu_down_read(s); WRITE_ONCE(*x, 1); smp_store_release(i, r0); }\n"
    source += "P1(struct srcu_struct *s, int *i, int *y)\n"
    source += "{ int r0; int r1; r0 = smp_load_acquire(i); r1 = READ_ONCE(*y); srcu_up_read(s, r0); }\n"
    source += "P2(struct srcu_struct *s, int *x, int *y)\n"
    source += "{ int r0; r0 = READ_ONCE(*x); synchronize_srcu(s); WRITE_ONCE(*y, 1); }\n"
    assert answer(source + "filter (~(1:r0=0)) exists (2:r0=1 /\\ 1:r1=1)") == "Never"
    assert answer(source + "filter (~(1:r0=0)) exists (2:r0=0 /\\ 1:r1=1)") == "Sometimes"


ONE = "{} P0(int *x) { WRITE_ONCE(*x, 1); } P1(int *x) { int r0 = READ_ONCE(*x); }\n"


@pytest.mark.parametrize(
    ("result", "question", "status"),
    [
        ("Always", "forall (x=1)", 0),
        ("Never", "forall (x=1)", 1),
        ("Sometimes", "forall (1:r0=1)", 0),
        ("Always", "exists (x=1)", 0),
        ("Always", "exists (1:r0=1)", 1),
        ("Sometimes", "exists (1:r0=1)", 0),
        ("Sometimes", "exists (x=1)", 1),
        ("Never", "~exists (x=2)", 0),
        ("Maybe", "exists (x=2)", 0),
        ("Whatever", "exists (x=2)", 0),
        ("DEADLOCK", "filter (x=2) exists (1:r0=1)", 0),
        ("Never", "filter (x=2) exists (1:r0=1)", 0),
        ("DEADLOCK", "exists (1:r0=1)", 1),
    ],
)
def test_what_a_file_expects_is_what_herd7_observes(
    result: str, question: str, status: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "t.litmus"
    file.write_text(f"C t\n(* Result: {result} *)\n{ONE}{question}\n", encoding="utf-8")
    assert run(capsys, str(file))[0] == status


def test_an_execution_that_deadlocks_has_no_final_state(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = "{} P0(int *x, spinlock_t *s, spinlock_t *t)\n"
    source += "{ spin_lock(s); spin_lock(t); WRITE_ONCE(*x, 1); spin_unlock(t); spin_unlock(s); }\n"
    source += "P1(int *x, spinlock_t *s, spinlock_t *t)\n"
    source += "{ spin_lock(t); spin_lock(s); spin_unlock(s); spin_unlock(t); }\n"
    file = tmp_path / "t.litmus"
    file.write_text(f"C t\n(* Result: Never *)\n{source}exists (x=0)\n", encoding="utf-8")
    status, out, _ = run(capsys, str(file))
    assert status == 0
    assert "some executions end in a deadlock" in out
    alone = "C t\n{} P0(spinlock_t *s) { spin_lock(s); spin_lock(s); }\nexists (true)"
    outcome = check(parse(alone, Path("t.litmus")))
    assert (outcome.verdict, outcome.states) == ("Failed", ())
    assert outcome.witness is not None


def test_what_public_collections_write_is_understood() -> None:
    source = """C diy "PodWW Rfe"
Cycle=PodWW Rfe
Prefetch=0:x=F,1:y=T
(*no space, (* nested *) and more *)
{ int x = 010; intptr_t p = y; 0:r7=0x10; }
P0(volatile int* x, intptr_t *p)
{
	intptr_t r1 = (intptr_t)rcu_dereference(*(intptr_t **)p);
	int r2; // a comment
	r2 = *x == 8 ? 0 : 0;
	smp_store_release((intptr_t *)r1, (intptr_t)7);
}
locations [x; 0:r1 *;]
exists (0:r1=y /\\ y=7 => [x]=8)
"""
    source = source.replace(" ? 0 : 0", "")
    outcome = check(parse("\ufeff" + source.replace("\n", "\r\n"), Path("t.litmus")))
    assert outcome.observed == "Always"
    assert (("x", 8), ("0:r1", "y"), ("y", 7)) in outcome.states


@pytest.mark.parametrize(
    ("grace", "readers"), [(3, 2), (2, 3)], ids=["as many as readers", "one reader too many"]
)
def test_chains_of_grace_periods_end(grace: int, readers: int) -> None:
    kinds = "G" * grace + "R" * readers
    names = "abcdef"[: len(kinds)]
    bodies = [
        f"P{n}(int *{names[n]}, int *{names[(n + 1) % len(kinds)]}) "
        f"{{ int r0; {MEMBER[kind].format(names[n], names[(n + 1) % len(kinds)])} }}"
        for n, kind in enumerate(kinds)
    ]
    asked = " /\\ ".join(f"{n}:r0=0" for n in range(len(kinds)))
    outcome = check(parse("C t\n{} " + "\n".join(bodies) + f"\nexists ({asked})", Path("t.litmus")))
    assert outcome.verdict == ("Forbidden" if grace >= readers else "Allowed")
    assert outcome.reached < 20_000


def test_five_processes_with_a_lock_end() -> None:
    body = "(int *x, spinlock_t *s) { int r0; spin_lock(s); r0 = READ_ONCE(*x);"
    body += " WRITE_ONCE(*x, r0 + 1); spin_unlock(s); }\n"
    source = "C t\n{} " + "".join(f"P{n}{body}" for n in range(5)) + "exists (~x=5)"
    outcome = check(parse(source, Path("t.litmus")))
    assert outcome.verdict == "Forbidden"
    assert outcome.reached < 20_000


def test_files_that_cannot_be_read_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, str(tmp_path / "none.litmus"))[0] == 2
    (tmp_path / "bytes.litmus").write_bytes(b"\xff\xfe\x00")
    assert "is not text" in run(capsys, str(tmp_path / "bytes.litmus"))[2]
    with pytest.raises(BadLitmus, match="two tests"):
        raise BadLitmus("two tests")


MEMBER = {
    "G": "WRITE_ONCE(*{0}, 1); synchronize_rcu(); r0 = READ_ONCE(*{1});",
    "R": "rcu_read_lock(); WRITE_ONCE(*{0}, 1); r0 = READ_ONCE(*{1}); rcu_read_unlock();",
}
CYCLES = sorted({"".join(kinds) for size in (1, 2, 3) for kinds in product("GR", repeat=size)})


@pytest.mark.parametrize("kinds", [kinds for kinds in CYCLES if len(kinds) > 1])
def test_a_cycle_is_forbidden_if_it_has_as_many_grace_periods_as_readers(kinds: str) -> None:
    names = "abcdef"[: len(kinds)]
    bodies = [
        f"P{n}(int *{names[n]}, int *{names[(n + 1) % len(kinds)]}) "
        f"{{ int r0; {MEMBER[kind].format(names[n], names[(n + 1) % len(kinds)])} }}"
        for n, kind in enumerate(kinds)
    ]
    asked = " /\\ ".join(f"{n}:r0=0" for n in range(len(kinds)))
    forbidden = kinds.count("G") >= kinds.count("R")
    assert verdict("{} " + "\n".join(bodies) + f"\nexists ({asked})") == (
        "Forbidden" if forbidden else "Allowed"
    )
