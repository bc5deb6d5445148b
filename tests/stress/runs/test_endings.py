"""How commands end: nothing but a failure is a 1, nothing found is lost, nothing runs on, and printed lines work."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from sugarbush.concurrency import BadSchedule, ConcurrencyError, SugarbushError
from sugarbush.lockdep import LockdepError
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit.load import BadFile, _loaded, load_file
from sugarbush.stress.kit.scenarios import BadScenario, Scenario, _registered, scenario
from sugarbush.tree.core.errors import TreeError

SUGARBUSH = [sys.executable, "-m", "sugarbush"]
FOUND = ["run", "brk-false-vma", "--without", "coverage", "--keep-going"]

OWN = '''
from sugarbush.concurrency import Once, Shared, check, join, spawn
from sugarbush.stress.kit.scenarios import scenario


class Counter(Shared):
    value: Once[int] = 0


@scenario("own-lost-update", era="none", expect="check", observers=tuple)
def lost_update() -> None:
    """Two increments, of which one is lost."""
    counter = Counter()

    def add() -> None:
        counter.value = counter.value + 1

    join(spawn(add), spawn(add))
    check(counter.value == 2, "every increment counts")


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("it cannot say what it is")


@scenario("mute", era="none", observers=tuple, closing=lambda: 5)
def mute() -> None:
    """A task raises what cannot be spelt."""
    counter = Counter()

    def raises() -> None:
        counter.value = 1
        raise Mute

    join(spawn(raises), spawn(raises))
'''


def started(*arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SUGARBUSH, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )  # type: ignore[call-overload, no-any-return]


def until(condition: object, process: subprocess.Popen[str]) -> None:
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_all_errors_have_one_root() -> None:
    for one in (ConcurrencyError, BadSchedule, LockdepError, TreeError, BadFile, BadScenario):
        assert issubclass(one, SugarbushError)
    # Some are made known only where they are needed.
    for module in (
        "sugarbush.stress.kit.captures",
        "sugarbush.stress.litmus.calls",
        "sugarbush.vm.access.user",
    ):
        import_module(module)
    own = {
        f"{error.__module__}.{error.__name__}"
        for error in _below(Exception)
        if error.__module__.startswith("sugarbush.") and not issubclass(error, SugarbushError)
    }
    # What a program shows, and what passes within the model and the engine, is no error of whoever uses them.
    assert own == {
        "sugarbush.concurrency.core.failure.Failure",
        "sugarbush.concurrency.core.bytecode.Hidden",
        "sugarbush.lockdep.python.watcher.Passed",
        "sugarbush.stress.kit.captures.HeldFast",
        "sugarbush.stress.litmus.calls.NotANumber",
        "sugarbush.stress.litmus.syntax.tokens.Wrong",
        "sugarbush.tree.read.climb.DeadNode",
        "sugarbush.vm.access.user.Killed",
    }


def _below(kind: type) -> set[type]:
    direct = kind.__subclasses__()
    return {*direct, *(below for one in direct for below in _below(one))}


def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    process = started(*FOUND, "--seconds", 600, "--jobs", 2, "--out", tmp_path)
    until(lambda: list(tmp_path.glob("brk*.json")), process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 2
    process.kill()
    process.communicate()
    # Waits as long as it takes; the test fails by its time-out, on however busy a machine.
    psutil.wait_procs(family)


@pytest.mark.exhaustive
def test_a_terminal_that_is_closed_ends_all_processes_of_it(tmp_path: Path) -> None:
    process = started(
        *FOUND, "--seconds", 600, "--jobs", 2, "--out", tmp_path, "--json", start_new_session=True
    )
    until(lambda: list(tmp_path.glob("brk*.json")), process)
    os.killpg(process.pid, signal.SIGHUP)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert all(Path(one["artifact"]).is_file() for one in json.loads(out.splitlines()[-1])["failures"])
    assert (tmp_path / "campaign.json").is_file()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A file of somebody's own, which nothing in this process has loaded before or knows of afterwards."""
    file = tmp_path / "my own.py"
    file.write_text(OWN, encoding="utf-8")
    before = dict(_registered)

    yield file
    forget(before)


def forget(before: dict[str, Scenario]) -> None:
    _loaded.clear()
    _registered.clear()
    _registered.update(before)


def test_the_lines_that_are_printed_work(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = dict(_registered)
    run = ["--load", str(own), "run", "own-lost-update", "--out", "-it's here", "--seconds", "0.1"]
    assert ended(run) == 1
    lines = dict(
        re.findall(r"^(replay|simplify|go on): +sugarbush (.*)$", capsys.readouterr().out, re.MULTILINE)
    )
    assert set(lines) == {"replay", "simplify", "go on"}
    for line in lines.values():
        forget(before)
        assert ended(shlex.split(line)) == 1
        assert "every increment counts" in capsys.readouterr().out
    # Without the file it says what is missing.
    forget(before)
    assert ended(["replay", str(next(Path("-it's here").resolve().glob("own*.json")))]) == 2
    assert "sugarbush --load FILE" in capsys.readouterr().err


def test_what_cannot_be_said_does_not_change_what_was_found(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["--load", str(own), "run", "mute", "--out", str(tmp_path), "--json"]) == 1
    said = capsys.readouterr()
    assert said.err == "sugarbush: closing of scenario 'mute': it gave 5, not a list of texts\n"
    assert json.loads(said.out.splitlines()[-1])["failures"][0]["headline"] == "Mute"


@pytest.mark.exhaustive
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_standard_output_that_is_full_or_closed() -> None:
    command = shlex.join([*SUGARBUSH, "list"])
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr.count("\n")) == (2, 1)
    assert "No space left" in full.stderr

    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True, check=False)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_result_file_is_tried_before_the_work_and_its_loss_is_said_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    run = ["run", "brk-false-vma", "--out", str(tmp_path), "--json", "--junit"]
    assert ended(run, str(blocked / "x.xml")) == 2
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sugarbush.stress.cli.refusals.check_writable", lambda *_: None)
    assert ended(run, str(blocked / "x.xml")) == 1
    said = capsys.readouterr()
    assert "x.xml cannot be written" in said.err
    assert json.loads(said.out.splitlines()[-1])["failures"]


def ended(arguments: list[str], *more: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, *more])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["run", "brk-standard", "--runtime", "threaded", "--strategy", "pct"],
            "--strategy means nothing with",
        ),
        (["run", "brk-standard", "--runtime", "threaded", "--depth", "3"], "--depth means nothing with"),
        (["run", "--resume", ".", "--seed", "1"], "--seed means nothing with --resume"),
        (["run", "--resume", ".", "--out", "x"], "--out means nothing with --resume"),
        (["run", "--resume", ".", "--keep-going"], "--keep-going means nothing with --resume"),
        (["run", "brk-standard", "--seed", "1", "--seed", "2"], "--seed stands there twice"),
        (["run", "page-test", "--pages", "2", "--pages", "3"], "--pages stands there twice"),
        (["run", "page-test", "--pages", "9" * 5000], "is a number, 0 to 1000000"),
        (["run", "brk-standard", "--seed", "9" * 5000], "--seed"),
        (["run", "brk-standard", "--seconds", "inf"], "--seconds must be at most"),
        (["run", "brk-standard", "--depth", "9" * 30], "the depth of pct counts orderings: at most 1000"),
        (["run", "brk-standard", "--jobs", "99999"], "--jobs must be at most 1024"),
        (["run", "brk-standard", "--executor", ""], "an address is tcp://HOST:PORT"),
        (["lockdep", "x.json", "--json", "--classes"], "--json has everything"),
    ],
)
def test_no_option_is_ignored(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert ended(arguments) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_seed_that_changes_nothing_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = ["run", "brk-standard", "--strategy", "dfs", "--schedules", "1", "--out", str(tmp_path)]
    assert ended([*run, "--seed", "3"]) == 0
    assert "--seed changes nothing under dfs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "complaint"),
    [
        ("../../evil", {}, "cannot be called '../../evil'"),
        ("-x", {}, "cannot be called '-x'"),
        ("x" * 300, {}, "cannot be called"),
        ("brk-standard", {}, "there is a scenario 'brk-standard' already, of "),
        ("mine", {"expect": "coverge"}, "did you mean coverage"),
        ("mine", {"without": ("gravity",)}, "is without 'gravity', which is no check"),
        ("mine", {"memory": "tso"}, "there are sc, weak"),
        ("mine", {"faults": -1}, "0 or more"),
    ],
)
def test_what_is_registered_means_something(name: str, words: dict[str, object], complaint: str) -> None:
    before = dict(_registered)
    with pytest.raises(BadScenario, match=re.escape(complaint)):
        scenario(name, era="none", **words)(int)  # type: ignore[arg-type]
    assert before == _registered


def test_a_check_of_ones_own_is_made_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own_check.py"
    file.write_text(
        "from sugarbush.stress.kit.checks import CHECKS\nfrom sugarbush.stress.kit.scenarios import scenario\n"
        "CHECKS['mine'] = 'what it says'\n"
        "scenario('with-own-check', era='none', expect='mine', without=('mine',))(lambda: None)\n",
        encoding="utf-8",
    )
    from sugarbush.stress.kit.checks import CHECKS

    try:
        load_file(file)
        assert _registered["with-own-check"].expect == "mine"
    finally:
        CHECKS.pop("mine", None)
        _registered.pop("with-own-check", None)


class Web(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.exhaustive
def test_an_address_that_is_no_scheduler_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    with HTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        status = ended(["run", "brk-standard", "--schedules", "3", "--executor", address])
        server.shutdown()
        thread.join()
    assert status == 2
    assert capsys.readouterr().err.startswith(f"sugarbush: no Dask scheduler answers at {address}")


def test_the_dask_client_unpickles_nothing_that_runs(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    code = (
        "import os, pickle, sys\n"
        "class Evil:\n"
        "    def __reduce__(self): return os.mkdir, (sys.argv[1],)\n"
        "sent = pickle.dumps(Evil())\n"
        "from sugarbush.stress.runs.dask_client import forbid_pickles\n"
        "forbid_pickles()\n"
        "import cloudpickle, distributed, distributed.client, distributed.core\n"
        "from distributed.protocol import pickle as theirs\n"
        "serialize = sys.modules['distributed.protocol.serialize']\n"
        "for loads in (theirs.loads, cloudpickle.loads, distributed.client.pickle.loads, pickle.loads,\n"
        "              lambda sent: serialize.pickle_loads({'writeable': ()}, [sent])):\n"
        "    try: loads(sent)\n"
        "    except AttributeError as error: print(error)\n"
        "kind, error, _ = distributed.core.clean_exception(sent)\n"
        "print(kind.__name__)\n"
        "print(pickle.loads(pickle.dumps(['a', {1: 2.5}])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "evil")], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        *["posix.mkdir of another machine is not unpickled"] * 5, "Exception", "['a', {1: 2.5}]"
    ], done.stderr  # fmt: skip
    assert not (tmp_path / "evil").exists()
