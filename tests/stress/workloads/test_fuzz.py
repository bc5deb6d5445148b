"""Whatever is read may come from anybody: files, options, schedules, states, answers of workers.

Each case ends in one line and status 2, or in what it would have been without the change; never in a traceback, in a 1
without a failure, or in no end at all. `pytest -m exhaustive` tries some thousands.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sugarbush.concurrency import BadSchedule, Schedule, Settings, check, join, replay, spawn
from sugarbush.concurrency.core.failure import ConcurrencyError
from sugarbush.concurrency.core.wire import to_text
from sugarbush.concurrency.memory.shared import Once, Shared
from sugarbush.concurrency.search.answers import Answer, understood
from sugarbush.concurrency.search.batch import ByName, Range, Work, packed
from sugarbush.concurrency.search.running import run_batch
from sugarbush.concurrency.strategies.surw import Counts
from sugarbush.lockdep.cli.app import main as lockdep_main
from sugarbush.lockdep.show.snapshot import Snapshot
from sugarbush.stress.cli import refusals
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit.load import _loaded
from sugarbush.stress.kit.scenarios import _registered

SECONDS = 5
"""Of the processor, not of a clock: a busy machine makes nothing fail."""


class NoEnd(BaseException):
    """A case takes too long."""


def _bark(_number: int, _frame: object) -> None:
    raise NoEnd


def ended(command: Callable[[], object]) -> tuple[int, str, str]:
    """The exit status of a command, what it printed, and what it complained of."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before = signal.signal(signal.SIGVTALRM, _bark)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = command()
            except SystemExit as error:
                status = error.code
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert isinstance(status, int)
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return status, texts[0], texts[1]


def checked(command: Callable[[], object], found: str | None = "") -> int:
    """Run a command; `found` is what it prints if it finds a failure after all, None if that is not known."""
    status, out, err = ended(command)
    assert "Traceback" not in err
    assert status in (0, 1, 2), err
    if status == 2:
        assert err.count("\n") == 1, err
        assert len(err) < 3000
        assert err.startswith(("sugarbush: ", "lockdep: "))
    elif status == 1 and found is not None:
        assert found
        assert found in out.replace("\n", "")
    return status


NUMBERS = st.sampled_from(
    [
        -1,
        0,
        1,
        2,
        3,
        10**9,
        2**31,
        2**63 - 1,
        2**63,
        10**40,
        -(10**40),
        0.5,
        1e300,
        float("nan"),
        float("inf"),
    ]
)
ODD = [
    "",
    "x",
    "../../evil",
    "/dev/zero",
    "\x00",
    "\ud800",
    "s1:",
    "s1:0*5",
    "-1",
    "9" * 5000,
    "a" * 100_000,
    "nan",
]
MEANT = [
    "brk-standard",
    "rcutorture",
    "threaded",
    "dfs",
    "weak",
    "\x1b[31m",
    "e\u0301",
    "0x10",
    "\u0663",
    "--help",
]
TEXTS = st.one_of(st.sampled_from([*ODD, *MEANT]), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXTS, st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be changed, the outer places first."""
    items: Any = (
        data.items() if isinstance(data, dict) else enumerate(data[:3]) if isinstance(data, list) else ()
    )
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


@st.composite
def changed(draw: st.DrawFn, data: Any) -> bytes:
    """The JSON of `data` with something changed: a value, a key that is missing, or its bytes."""
    data = deepcopy(data)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.sampled_from(sorted(places(data), key=repr) or [()]))
        if not at:
            break
        inner = data
        for key in at[:-1]:
            inner = inner[key]
        if draw(st.integers(0, 4)) == 0:
            del inner[at[-1]]
        else:
            inner[at[-1]] = draw(VALUES)
    spelt = json.dumps(data).encode()
    if draw(st.integers(0, 3)) == 0:
        cut = draw(st.integers(0, len(spelt)))
        middle = draw(
            st.sampled_from([b"", b"\xff", b"[" * 50_000, b"NaN", b"1e999", b"9" * 5000, b'"a":1,"a":2,'])
        )
        spelt = spelt[:cut] + middle + spelt[draw(st.sampled_from([cut, cut + 1, len(spelt)])) :]
    return spelt


def tried(strategy: st.SearchStrategy[Any], body: Callable[[Any], object], count: int) -> None:
    """Try `count` cases, the same each time."""
    options = settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    # Not in place of the body, which keeps its signature: Hypothesis runs it once for each case.
    def case(value: Any) -> None:
        body(value)

    options(given(strategy)(case))()


HOW_MANY = pytest.mark.parametrize("count", [4, pytest.param(400, marks=pytest.mark.exhaustive)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an artifact and a state, in which everything runs: what is written stays in it."""
    folder = tmp_path_factory.mktemp("fuzz")
    ended(lambda: main(["run", "brk-false-vma", "--out", str(folder / "found")]))
    ended(lambda: main(["run", "brk-standard", "--seconds", "0.01", "--out", str(folder / "state")]))
    return folder


@pytest.fixture
def artifact(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "found").glob("*.json")
    return dict(json.loads(path.read_text()))


@HOW_MANY
def test_an_artifact(folder: Path, artifact: dict[str, Any], count: int) -> None:
    path = folder / "changed.json"

    def body(content: bytes) -> None:
        path.write_bytes(content)
        checked(lambda: main(["replay", str(path)]), artifact["failure"]["headline"][:40])

    tried(changed(artifact), body, count)


@HOW_MANY
def test_a_state(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("sugarbush.stress.runs.campaign._ROUND", 2)
    path = folder / "changed" / "campaign.json"
    path.parent.mkdir(exist_ok=True)
    data = json.loads((folder / "state" / "campaign.json").read_text())

    def body(content: bytes) -> None:
        path.write_bytes(content)
        # A scenario that fails may have taken the place of this one; its parts are all printed then.
        checked(lambda: main(["run", "--resume", str(path.parent), "--seconds", "0.001"]), "saved:")

    tried(changed(data), body, count)


@HOW_MANY
def test_what_lockdep_saved(folder: Path, count: int) -> None:
    path = folder / "lockdep.json"
    row = dict.fromkeys(("number", "outer", "inner", "operations", "forward", "backward"), 1)
    data = {
        **Snapshot().to_json(),
        "classes": [{**row, "name": "a", "usage": "....", "after": [1]}],
        "edges": [{"prev": 1, "next": 1, "kinds": ["ER"], "distance": 1, "site": "x.py:1", "by": ""}],
        "chains": [{"context": "0", "locks": [[1, 0]]}],
        "stats": {"lock-classes": 1},
        "held": [{"comm": "a", "pid": 1, "locks": ["x"], "wanted": ""}],
        "reports": [
            {
                "kind": "k",
                "headline": "h",
                "is_failure": True,
                "text": "REPORT",
                "fields": {"chain": [{"wanted": {"name": "a"}}]},
            }
        ],
    }
    options = st.sampled_from(
        ["--classes", "--chains", "--stats", "--lock-stat", "--held", "--reports", "--json"]
    )

    def body(drawn: tuple[bytes, str]) -> None:
        path.write_bytes(drawn[0])
        graph = str(folder / "graph.svg")
        status = checked(lambda: lockdep_main([str(path), drawn[1], "--graph", graph]), None)
        assert status != 1 or Path(graph).exists()

    tried(st.tuples(changed(data), options), body, count)


OPTIONS = {
    "run": [
        *(
            "--runtime",
            "--strategy",
            "--depth",
            "--memory",
            "--seed",
            "--jobs",
            "--executor",
            "--faults",
            "--without",
        ),
        *(
            "--out",
            "--junit",
            "--summary",
            "--resume",
            "--pages",
            "--ptrs-per-pte",
            "--rounds",
            "--seconds",
            "--nonsense",
        ),
    ],
    "replay": ["--until", "--nonsense"],
    "minimise": ["--nonsense"],
    "catalogue": ["--strategy", "--seed", "--jobs", "--junit", "--summary", "--schedules"],
    "report": ["--html", "--perfetto"],
    "lockdep": ["--graph", "--classes", "--json"],
    "list": ["--json", "--nonsense"],
}
NAMES = st.sampled_from(
    ["brk-standard", "page-test", "rcutorture", "no-such-thing", "-", "", "../x", "\ud800", "."]
)
KNOWN = [
    "threaded",
    "simulated",
    "dfs",
    "dpor",
    "pct",
    "weak",
    "sc",
    "1",
    "2",
    "0",
    "-1",
    "nan",
    "inf",
    "0.01",
    "rcu",
]
PATHS = [
    "/dev/zero",
    "/dev/null",
    "/nowhere/x/y",
    ".",
    "..",
    "",
    "tcp://",
    "http://127.0.0.1:1",
    "tcp://127.0.0.1:1",
]
ILL = ["9" * 5000, "10000000000", "1e400", "gravity", "-x", "\ud800", "a" * 4000, "x\x00y", "s1:0"]
WORDS = st.one_of(st.sampled_from([*KNOWN, *PATHS, *ILL]), st.text(max_size=4))


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    command = draw(st.sampled_from(sorted(OPTIONS)))
    words = [command, draw(NAMES)]
    for option in draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=3)):
        words.append(option)
        # Without the value, now and then, the next option is taken for it.
        if draw(st.integers(0, 9)):
            words.append(draw(WORDS))
    # A run that nothing is wrong with is a short one.
    return [*words, "--schedules", "1"] if command == "run" else words


@HOW_MANY
def test_options(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    (folder / "cwd").mkdir(exist_ok=True)
    monkeypatch.chdir(folder / "cwd")
    # As the tests of jobs do, elsewhere: here it would start two processes for every other case.
    one_job = [
        row._replace(wrong=refusals.whole(1, 1)) if row.option == "jobs" else row for row in refusals.VALUES
    ]
    monkeypatch.setattr(refusals, "VALUES", one_job)
    monkeypatch.setattr("sugarbush.stress.runs.executors._PATIENCE", 0.01)
    tried(commands(), lambda words: checked(lambda: main(words), None), count)
    # Nothing was written outside; where it runs as root, every path can be written.
    assert not os.path.exists("../../evil")


class Counter(Shared):
    value: Once[int] = 0


def lost_update() -> None:
    counter = Counter()

    def add() -> None:
        counter.value = counter.value + 1

    join(spawn(add), spawn(add))
    check(counter.value == 2, "every increment counts")


PARTS = [
    "0",
    "1*3",
    "2*1",
    "=1",
    "0*999999999999",
    "9",
    "1*0",
    "",
    " ",
    "=",
    "*",
    "1*",
    "-1",
    "0x1",
    "\u0661",
]
TOKENS = st.one_of(st.sampled_from(PARTS), st.text(max_size=4))


@HOW_MANY
def test_a_schedule(count: int) -> None:
    def body(drawn: tuple[str, list[str]]) -> None:
        # Anything else than this one error is a mistake; the schedule may be a good one after all.
        with contextlib.suppress(BadSchedule):
            schedule = Schedule.parse(drawn[0] + ",".join(drawn[1]))
            assert Schedule.parse(str(schedule)) == schedule
            replay(lost_update, schedule, settings=Settings())

    tried(st.tuples(st.sampled_from(["s1:", "s1:0,", "s2:", ""]), st.lists(TOKENS, max_size=8)), body, count)


FILE = """
from sugarbush.concurrency import join, spawn
from sugarbush.stress.kit.scenarios import scenario

@scenario({}, era={}, expect={}, without={}, memory={}, faults={}, patches={})
def program(size: int = 1) -> None:
    join(spawn(int))

{}
"""
KINDS = ["5", "None", "()", "-1", "0", "1.5", "True", "[1]", "{}", "int", "b'x'", "..."]
SPELT = [
    "'mine'",
    "'brk-standard'",
    "'../../evil'",
    "'a/b'",
    "''",
    "'x' * 9999",
    "'check'",
    "'gravity'",
    "'sc'",
    "'tso'",
]
LITERALS = st.sampled_from([*KINDS, *SPELT, "('rcu',)", "('gravity',)", "'\\ud800'"])
ENDS = st.sampled_from(
    ["", "raise GeneratorExit", "import sys; sys.exit(0)", "1 / 0", "def", "x = 10**9999; print(x)"]
)
BROKEN = st.sampled_from(
    ["class E(Exception):\n def __str__(self): return 1\nraise E", "raise BaseException('x\\ny')"]
)


@HOW_MANY
def test_a_scenario_file(folder: Path, count: int) -> None:
    path = folder / "mine.py"

    def body(drawn: list[str]) -> None:
        path.write_text(FILE.format(*drawn), encoding="utf-8")
        before = dict(_registered)
        try:
            status = checked(lambda: main(["--load", str(path), "list"]))
            assert status == 2 or drawn[0] == "'mine'"
        finally:
            _registered.clear()
            _registered.update(before)
            _loaded.clear()

    good = ["'mine'", "'6.1'", "None", "()", "'sc'", "0", "()", ""]
    kinds = [*[LITERALS] * 7, st.one_of(ENDS, BROKEN)]
    cases = st.tuples(
        *[st.one_of(st.just(value), kind) for value, kind in zip(good, kinds, strict=True)]
    ).map(list)
    tried(cases, body, count)


@HOW_MANY
def test_an_answer_of_a_worker(count: int) -> None:
    work = Work(packed(ByName(lost_update, Settings())), "surw", 1, None, False)
    batch = Range(0, 8, Counts())
    answer = json.loads(to_text(Answer(run_batch(work, batch))))

    def body(content: bytes) -> None:
        with contextlib.suppress(ConcurrencyError):
            understood(content.decode(errors="replace"), work, batch)

    understood(json.dumps(answer), work, batch)
    tried(changed(answer), body, count)
