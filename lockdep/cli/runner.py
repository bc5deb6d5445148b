"""``sugarbush lockdep run SCRIPT ...`` and ``-m MODULE``: a program as it is, with its locks watched.

The exit status is the program's own if that says that something went wrong, else 1 if something was reported, else 0.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib.util
import io
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from sugarbush.lockdep.model import LockdepError
from sugarbush.lockdep.outside import SugarbushError, check_writable, complain
from sugarbush.lockdep.python import Program, hang, install, save, write

PROG = "sugarbush lockdep run"


class _RunParser(argparse.ArgumentParser):
    """Wrong arguments are one line, as everything else that cannot be used."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and ending: whoever calls the command says what an error is."""
        raise LockdepError(f"{message}; --help names the options")


def _parser() -> argparse.ArgumentParser:
    parser = _RunParser(
        prog=PROG, description="Run a Python program with its locks watched.", allow_abbrev=False
    )
    parser.add_argument("--kernel", action="store_true", help="reports in the shape of the Linux kernel's")
    parser.add_argument(
        "--guarded", action="store_true", help="show cycles that a common lock makes harmless, too"
    )
    parser.add_argument("--quiet", action="store_true", help="no last line when nothing was found")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports to this file")
    parser.add_argument(
        "--sarif", type=Path, metavar="FILE", help="the same for code-scanning pages (SARIF 2.1.0)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="the same as a page")
    parser.add_argument(
        "--hang", type=float, metavar="SECONDS", help="say who waits for whom when it runs so long"
    )
    parser.add_argument(
        "--blocking",
        action="store_true",
        help="report calls that block (sleep, socket, subprocess) under a lock",
    )
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE", help="run a module")
    parser.add_argument(
        "script", nargs=argparse.REMAINDER, metavar="SCRIPT", help="the program and its arguments"
    )
    return parser


def run_program(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit status."""
    try:
        options = _parser().parse_args(arguments)
        words = options.module if options.module is not None else options.script
        if not words:
            raise LockdepError("name a SCRIPT to run, or -m MODULE")
        for form in ("json", "sarif", "html"):
            path = getattr(options, form)
            if path is not None:
                check_writable(path, f"--{form}")
        if options.hang is not None and not options.hang > 0:
            raise LockdepError("--hang takes a number of seconds above 0")
        code, module = _prepare(words, options.module is not None)
    except SystemExit:
        # It has shown its help.
        return 0
    except SugarbushError as error:
        return complain(PROG, str(error))
    return _watch(options, code, module, words[0])


def _prepare(words: list[str], is_module: bool) -> tuple[CodeType, ModuleType]:
    """The program's code, and the module in which it runs, as the interpreter itself sets them up."""
    module = ModuleType("__main__")
    if is_module:
        sys.path[0] = os.getcwd()
        try:
            spec = importlib.util.find_spec(words[0])
            if spec is not None and spec.submodule_search_locations is not None:
                spec = importlib.util.find_spec(f"{words[0]}.__main__")
        except (ImportError, ValueError) as error:
            raise LockdepError(f"module {words[0]} cannot be found: {error}") from error
        loader: Any = None if spec is None else spec.loader
        if spec is None or not hasattr(loader, "get_code"):
            raise LockdepError(f"there is no module {words[0]} that can be run")
        code = loader.get_code(spec.name)
        if code is None:
            raise LockdepError(f"module {words[0]} has no Python code")
        sys.argv = [spec.origin or words[0], *words[1:]]
        module.__spec__ = spec
        module.__package__ = spec.parent
        module.__file__ = spec.origin
        module.__loader__ = loader
        return code, module
    script = words[0]
    try:
        with io.open_code(os.path.abspath(script)) as file:
            text = file.read()
    except OSError as error:
        raise LockdepError(f"{script} cannot be read: {error.strerror or error}") from error
    sys.argv = list(words)
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    module.__file__ = script
    module.__dict__["__builtins__"] = __builtins__
    try:
        return compile(text, script, "exec", dont_inherit=True), module
    except (SyntaxError, ValueError) as error:
        raise LockdepError(f"{script} is no Python program: {error}") from error


def _watch(options: argparse.Namespace, code: CodeType, module: ModuleType, name: str) -> int:
    sys.modules["__main__"] = module
    program = install(kernel=options.kernel, blocking=options.blocking)
    hang.install(program, seconds=options.hang)
    status = 0
    try:
        exec(code, module.__dict__)
    except SystemExit as end:
        status = _status_of(end)
    except BaseException as error:
        # The frames of this file are no part of the program's traceback.
        trace: TracebackType | None = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        error.__traceback__ = trace
        _show(error)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
    # What the interpreter itself does next, in its order; only then is all known.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if gc.isenabled():
        gc.collect()
    program.settle()
    _finish(program, options, name)
    return status or int(bool(program.failures))


def _status_of(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except Exception:
        traceback.print_exception(error)


def _finish(program: Program, options: argparse.Namespace, name: str) -> None:
    reports = program.lockdep.reports
    hints = [report for report in reports if not report.is_failure]
    if options.guarded:
        for report in hints:
            write(program.tell(report))
    wanted = {form: getattr(options, form) for form in ("json", "sarif", "html")}
    try:
        save(reports, program.made, wanted, f"Locks of {os.path.basename(name)}")
    except SugarbushError as error:
        complain(PROG, str(error))
    failures = len(program.failures)
    if failures or not options.quiet:
        words = f"{failures} possible deadlock{'s' if failures != 1 else ''}" if failures else "nothing found"
        guarded = f", {len(hints)} guarded (--guarded shows them)" if hints and not options.guarded else ""
        classes = len(program.lockdep.state().classes)
        write(f"lockdep: {words}{guarded}; {classes} kinds of locks were taken\n")
