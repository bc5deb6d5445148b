"""Runs test files against the lock validator with one text of it replaced, each time in a fork of a process that has
imported whatever is not under test.

A line of standard input is a request, `[module, old, new, files]` in JSON; the line that answers it is
`[exit status of pytest, what it printed]`. With an empty `module` nothing is replaced.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import sys
import tempfile
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[3]
# No tracebacks: they cost as much as the tests, and the summary says which test failed, and why.
OPTIONS = ["-x", "-q", "--tb=no", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
OPTIONS += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]


class Replaced(SourceFileLoader):
    """Compiles a module from its text as the mutant has it; bytecode of the file as it is must not count."""

    def __init__(self, name: str, path: str, old: str, new: str) -> None:
        super().__init__(name, path)
        self.old = old
        self.new = new
        self.served = False

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        assert source.count(self.old) == 1, "the mutant no longer fits the code"
        self.served = True
        return compile(source.replace(self.old, self.new), self.path, "exec", dont_inherit=True)


class Finder:
    """Answers for the one module that the mutant changes, before anything else is asked."""

    def __init__(self, module: str, old: str, new: str) -> None:
        self.module = module
        self.texts = old, new
        self.loader: Replaced | None = None

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.module:
            return None
        spec = PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        assert spec is not None
        assert spec.origin is not None
        spec.loader = self.loader = Replaced(name, spec.origin, *self.texts)
        return spec


def tested(module: str, old: str, new: str, files: list[str]) -> int:
    """Runs pytest in this process, which nothing else is done with afterwards."""
    import pytest

    finder = Finder(module, old, new)
    sys.meta_path.insert(0, finder)
    status = int(pytest.main([*OPTIONS, *files]))
    # A mutant that no test imports would pass or fail for reasons of its own.
    assert not module or (finder.loader is not None and finder.loader.served), f"nobody imported {module}"
    return status


def forked(request: list[object]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            status = 99
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                status = tested(*request)  # type: ignore[arg-type]
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(ended), output.read().decode(errors="replace")


def warm() -> None:
    """Imports all that the tests need and no mutant changes."""
    import greenlet  # noqa: F401
    import hypothesis.strategies  # noqa: F401
    import jsonschema  # noqa: F401
    import loguru  # noqa: F401
    import psutil  # noqa: F401
    import pytest
    import rich.console  # noqa: F401

    # Loads the plugins of pytest, which it would else do in every fork.
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--version", "--version", "-c", os.devnull])
    assert not any(name.startswith("sugarbush.") for name in sys.modules), (
        "what is under test is imported by forks"
    )
    # Forks look at what they made themselves when they collect garbage.
    gc.freeze()


def main() -> None:
    warm()
    for line in sys.stdin:
        print(json.dumps(forked(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
