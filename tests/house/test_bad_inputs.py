"""What cannot be used is refused in one sentence that says what to do, wherever it comes from: a sample of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sugarbush import SugarbushError, explore, join, replay, spawn
from sugarbush.concurrency import Plain, Schedule, Semaphore, Settings, Shared
from sugarbush.concurrency.lowlevel import Operation
from sugarbush.stress.cli import main
from sugarbush.stress.kit import scenario

FILES = {
    "list.json": "[]",
    "empty.json": "",
    "newer.json": '{"sugarbush": 99}',
    "future.json": '{"sugarbush-proof": 99}',
    "half.json": '{"sugarbush": 2}',
    "other.json": "{}",
    "nonsense.litmus": "nonsense",
    "unknown.litmus": "C x\n{}\nP0(int *x) { foo(x); }\nexists (x=1)",
    "own.py": "1 +",
    "old/campaign.json": '{"sugarbush-campaign": 1}',
}
LINES = {
    # The words of a command line, and what of the sentence says what to do instead.
    "runn brk-standard": "Did you mean 'run'",
    "run": "`sugarbush list` names them",
    "run brk-standrad": "did you mean brk-standard",
    "run brk-standard --strategy magic": "there are random, pct",
    "run brk-standard --schedules 0": "must be above 0",
    "run brk-standard --seconds inf": "must be at most",
    "run brk-standard --jobs 99999": "must be at most 1024",
    "run brk-standard --depth 0": "at least 1",
    "run brk-standard --seed 1 --seed 2": "leave one of them out",
    "run brk-standard --runtime threaded --depth 3": "leave it out",
    "run brk-standard --stratgy pct": "there are ptrs_per_pte",
    "run brk-standard more": "a parameter is given as --NAME VALUE",
    "run page-test --pages many": "a number, 0 to 1000000",
    "run brk-standard --executor here": "an address is tcp://HOST:PORT",
    "catalogue nobug": "`sugarbush list` names them all",
    "prove nobody": "`sugarbush list` names them all",
    "lockdep x.log --graph x.png": "writes .dot or .svg",
    # The words name a file.
    "replay none.json": "cannot be read: No such file",
    "replay list.json": "it is a list, not a table",
    "replay empty.json": "it is not JSON",
    "replay half.json": "'scenario' is missing",
    "minimise newer.json": "install the one that wrote it",
    "minimise other.json": "no key 'sugarbush' says its format",
    "replay .": "it is a directory",
    "run --resume old": "'scenario' is missing",
    "prove --verify other.json": "no key 'sugarbush-proof' says its format",
    "prove --verify future.json": "install the one that wrote it",
    "litmus nonsense.litmus": "a litmus test begins with 'C' and its name",
    "litmus unknown.litmus": "unknown.litmus, line 3: foo() is not known",
    "lockdep nonsense.litmus --baseline half.json": "save one with `sugarbush lockdep LOGS --json",
    "--load own.py list": "own.py, line 1",
}


def program() -> None:
    spawn(lambda: None)


def shared(annotation: object) -> object:
    return type("Cell", (Shared,), {"__annotations__": {"value": annotation}})


CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "a strategy": (partial(explore, program, strategy="magic"), "there are random, pct"),
    "a runtime": (partial(explore, program, runtime="gpu"), "there are simulated, threaded"),
    "executions": (partial(explore, program, executions=0), "a whole number above 0"),
    "seconds": (partial(explore, program, seconds=float("nan")), "a number above 0"),
    "a seed": (partial(explore, program, seed="x"), "a whole number"),  # type: ignore[arg-type]
    "a depth": (partial(explore, program, depth=-1), "at least 1"),
    "a depth that there is not": (partial(explore, program, strategy="random", depth=2), "has no depth"),
    "jobs": (partial(explore, program, jobs=0), "a whole number above 0"),
    "going on": (partial(explore, program, keep_going=5), "True or False"),  # type: ignore[arg-type]
    "an audit": (partial(Settings, audit="yes"), "True or False"),  # type: ignore[arg-type]
    "what was called": (partial(explore, 5), "write explore(program), not explore(program())"),  # type: ignore[arg-type]
    "arguments": (partial(explore, lambda _one: None), "functools.partial"),  # type: ignore[arg-type,misc]
    "settings": (partial(explore, program, settings=5), "must be a Settings object"),  # type: ignore[arg-type]
    "a memory model": (partial(Settings, memory="tso"), "there are sc, weak"),
    "checks": (partial(Settings, without="race"), "a set of names of checks"),  # type: ignore[arg-type]
    "steps": (partial(Settings, max_steps=0), "1 or more"),
    "a schedule": (partial(Schedule.parse, "nonsense"), "starts with 's1:'"),
    "a choice": (partial(replay, program, "s1:x"), "write TASK, TASK*LENGTH or =VALUE"),
    "no execution": (partial(spawn, program), "call it inside the function given to explore()"),
    "what is waited for": (partial(explore, lambda: join(5)), "as spawn() gives them"),  # type: ignore[arg-type]
    "a count": (partial(Semaphore, -1), "at least 0"),
    "a field": (partial(shared, int), "write `Plain[int]`"),
    "names of orders": (partial(Operation, "x", acquires="lock"), "write a tuple of names"),  # type: ignore[arg-type]
    "a name": (partial(Operation, 5), "give it a name"),  # type: ignore[arg-type]
    "a scenario": (partial(scenario("bad name", era="none"), program), "use letters, digits"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", LINES)
def test_a_command_line_is_refused_in_a_sentence(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("sugarbush: ")
    assert LINES[words] in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("what", CALLS)
def test_a_call_is_refused_in_a_sentence(what: str) -> None:
    call, advice = CALLS[what]
    with pytest.raises(SugarbushError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    assert advice in said


def test_what_is_allowed_is_taken() -> None:
    # Else everything might be refused.
    assert explore(program, executions=2).executions == 2
    shared(Plain[int])
