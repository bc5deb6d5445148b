"""Litmus tests: each file of ours gives the verdict of the kernel's model, and what is no test is refused in words."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from stress.cli import main
from stress.litmus import BadLitmus, check
from stress.litmus.source import parse, read

TESTS = Path(__file__).parents[2] / "stress" / "litmus" / "tests"
FILES = sorted(TESTS.glob("*.litmus"))
HERE_OTHERWISE = {
    "C-RW-G+RW-R+RW-R",
    "C-RW-R+RW-G+RW-R",
    "LB+poonceonces",
    "S+fencewmbonceonce+poonceonce",
}
"""Where ours must differ; docs/litmus.md says why."""


def test_there_are_enough_and_the_exceptions_are_few() -> None:
    tests = [read(path) for path in FILES]
    assert len(tests) >= 90
    assert sum("rcu" in path.read_text(encoding="utf-8") for path in FILES) >= 19
    assert all(test.stated is not None for test in tests)
    assert {test.name for test in tests if test.here is not None} == HERE_OTHERWISE
    assert all(test.name == test.path.stem for test in tests)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_verdict_is_that_of_the_kernels_model(path: Path) -> None:
    outcome = check(read(path))
    assert outcome.verdict == outcome.test.expected
    assert outcome.exhaustive or outcome.witness is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
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
    program = "{} P0(int *x) { WRITE_ONCE(*x, 1); } P1(int *x) { int r0 = READ_ONCE(*x); }\n"
    assert verdict(program + "exists (1:r0=1)") == "Allowed"
    assert verdict(program + "~exists (1:r0=2)") == "Forbidden"
    assert verdict(program + "forall (1:r0=1)") == "Allowed"
    assert verdict(program + "forall (x=1 /\\ (1:r0=0 \\/ 1:r0=1))") == "Forbidden"
    assert verdict(program + "filter (1:r0=0) exists (1:r0=1)") == "Forbidden"
    assert verdict(program + "locations [x; 1:r0] exists (not (x=1) \\/ ~true)") == "Forbidden"
    assert verdict(program + "exists (1:r0!=1)") == "Allowed"


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
