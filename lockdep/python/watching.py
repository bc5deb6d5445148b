"""A run of pytest under lockdep: who closed which cycle, what is known already, what the workers saw together."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sugarbush.lockdep import python as watched
from sugarbush.lockdep.outside import save_text
from sugarbush.lockdep.python import hang
from sugarbush.lockdep.python.formats import FORMAT, save
from sugarbush.lockdep.python.shared_graph import graph_of, united
from sugarbush.lockdep.python.wording import RULE, fingerprint, story
from sugarbush.lockdep.reports import Report, ReportKind

_CERTAIN = {ReportKind.DEADLOCK, ReportKind.RECURSIVE, ReportKind.LOOP}
_RAISED = {0: 1, 5: 1}


class Session:
    """The hooks of one run."""

    def __init__(self, mode: str, *, kernel: bool, blocking: bool) -> None:
        # Before pytest takes the descriptor: what is told of a hang must not end in what it captures.
        self._stderr = os.dup(2)
        self.mode = mode
        self.was_installed = watched.installed() is not None
        self.program = watched.install(self._found, kernel=kernel, show=False, blocking=blocking)
        self._new: list[Report] = []
        self._test = ""
        self._told: list[tuple[str, str, Report]] = []
        self._late: list[str] = []
        self._known: dict[str, str] = {}
        self._met: set[str] = set()
        self._graphs: list[dict[str, Any]] = []
        self._rows: list[dict[str, str]] = []
        self._dog: hang.Watchdog | None = None
        self._places: dict[str, str] = {}
        self._config: pytest.Config | None = None

    def begin(self, config: pytest.Config) -> None:
        """The options are read."""
        self._config = config
        option = config.option
        path = option.lockdep_baseline
        if path is not None and not option.lockdep_update_baseline:
            self._known = read_baseline(path)
        if option.lockdep_hang is not None:
            self._dog = hang.Watchdog(self.program, option.lockdep_hang, self._write)
        self._watch_timeouts()

    def end(self) -> None:
        """The run is over."""
        if not self.was_installed:
            watched.uninstall()
        with suppress(OSError):
            os.close(self._stderr)

    def _write(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._stderr, text.encode(errors="backslashreplace"))

    def _found(self, report: Report) -> None:
        self._new.append(report)
        if report.kind in _CERTAIN:
            self._write(f"\n{self._test}\n{self.program.tell(report)}")

    def _drain(self) -> list[Report]:
        """Give the reports since the last call that are not in the baseline, and note all as met."""
        new, self._new = self._new, []
        fresh = []
        for report in new:
            mark = fingerprint(report)
            self._met.add(mark)
            if mark not in self._known:
                fresh.append(report)
                self._told.append((self._test, self.program.tell(report), report))
        return fresh

    @property
    def _fails(self) -> bool:
        assert self._config is not None
        return self.mode == "fail" and not self._config.option.lockdep_update_baseline

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None]:
        """A test begins: what comes now is its doing."""
        self._test = item.nodeid
        if self._dog is not None:
            self._dog.pet()
        yield
        if self._new:
            self._late += [self.program.tell(report) for report in self._drain()]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any]:  # noqa: ARG002
        """A phase of a test is over; it fails if it has closed a cycle."""
        outcome = yield
        if call.when == "teardown":
            self.program.settle()
        if not self._new:
            return
        fresh = self._drain()
        if not fresh or not self._fails:
            return
        result = outcome.get_result()
        text = "\n".join(self.program.tell(report) for report in fresh).removeprefix(RULE).lstrip("\n")
        if result.outcome == "failed":
            result.sections.append(("lockdep", text))
            return
        result.outcome = "failed"
        result.__dict__.pop("wasxfail", None)
        result.longrepr = text

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """All tests are done: what was put off is settled, workers hand over what they saw."""
        self._test = "(after the last test)"
        self.program.settle()
        self._late += [self.program.tell(report) for report in self._drain()]
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["lockdep"] = json.dumps(
                {
                    "graph": graph_of(self.program),
                    "late": self._late,
                    "met": sorted(self._met),
                    "told": [
                        {"test": test, "text": text, **self._row(report)} for test, text, report in self._told
                    ],
                }
            )
            return
        self._unite()
        self._save(session.config)
        if self._late and self._fails:
            session.exitstatus = _RAISED.get(int(session.exitstatus), session.exitstatus)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:  # noqa: ARG002
        """A worker of pytest-xdist has ended."""
        text = getattr(node, "workeroutput", {}).get("lockdep")
        if text is None:
            return
        data = json.loads(text)
        self._graphs.append(data["graph"])
        self._late += data["late"]
        self._met |= set(data["met"])
        self._rows += data["told"]

    def _unite(self) -> None:
        if len(self._graphs) < 2:
            return
        found, places = united(self._graphs)
        self._places = places
        for report in found:
            mark = fingerprint(report)
            self._met.add(mark)
            if mark in self._known:
                continue
            text = watched.tell(report, lambda name: places.get(name, ""))
            self._late.append(text)
            self._told.append(("(between workers)", text, report))

    def _row(self, report: Report) -> dict[str, str]:
        return {"fingerprint": fingerprint(report), "heading": story(report).heading}

    def _save(self, config: pytest.Config) -> None:
        option = config.option
        reports = [report for _, _, report in self._told]
        wanted: dict[str, Path | None] = {
            form: getattr(option, f"lockdep_{form}") for form in ("json", "sarif", "html")
        }
        save(
            reports,
            lambda name: self._places.get(name) or self.program.made(name),
            wanted,
            "Locks of the tests",
        )
        if option.lockdep_update_baseline:
            rows = {row["fingerprint"]: row for row in [*map(self._row, reports), *self._rows]}
            text = {
                "format": FORMAT,
                "reports": [{"fingerprint": mark, "heading": rows[mark]["heading"]} for mark in sorted(rows)],
            }
            save_text(option.lockdep_baseline, json.dumps(text, indent=1) + "\n")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print what was found, below all tests, with one line that counts it."""
        config = self._config
        assert config is not None
        told = [(test, text) for test, text, _ in self._told] + [
            (row["test"], row["text"]) for row in self._rows
        ]
        hints = sum(not report.is_failure for report in self.program.lockdep.reports)
        known = len(self._met & self._known.keys())
        gone = len(self._known.keys() - self._met)
        shown = told if self.mode == "report" else [one for one in told if one[1] in self._late]
        if shown:
            terminalreporter.section("lockdep")
            for test, text in dict.fromkeys(shown):
                terminalreporter.write_line(test)
                terminalreporter.write_line(text)
        words = f"lockdep: {len(told)} possible deadlock{'s' if len(told) != 1 else ''}"
        if config.option.lockdep_update_baseline:
            words += f", written to {config.option.lockdep_baseline}"
        if self._known:
            words += f", {known} known ones" + (f" ({gone} of the baseline did not show)" if gone else "")
        if hints:
            words += f", {hints} guarded"
        classes = len(self.program.lockdep.state().classes)
        terminalreporter.write_line(f"{words}; {classes} kinds of locks were taken")

    def _watch_timeouts(self) -> None:
        """pytest-timeout ends a test that hangs: what it waits for is told before."""
        module = sys.modules.get("pytest_timeout")
        for name in ("timeout_sigalrm", "timeout_timer"):
            real = getattr(module, name, None)
            if real is None or getattr(real, "sugarbush", False):
                continue

            def ended(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
                self._write(hang.dump(self.program))
                return _real(*args, **kwargs)

            ended.sugarbush = True  # type: ignore[attr-defined]
            setattr(module, name, ended)


def read_baseline(path: Path) -> dict[str, str]:
    """The known reports, by fingerprint, with their headings."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {str(row["fingerprint"]): str(row.get("heading", "")) for row in data["reports"]}
    except FileNotFoundError:
        raise pytest.UsageError(
            f"{path} is not there: --lockdep-update-baseline writes it from what a run finds"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise pytest.UsageError(
            f"{path} is no baseline of lockdep: {type(error).__name__}: {error}"
        ) from None
