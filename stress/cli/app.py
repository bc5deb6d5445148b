"""The command line: ``sugarbush``.

Exit status: 0 nothing found, 1 a failure was found, 2 unusable input or nothing explored (one line on standard error),
70 a mistake of Sugarbush's own, 130 interrupted, 141 nobody reads what is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sugarbush.lockdep.outside import ended, hear_signals
from sugarbush.stress.cli.lazy import Group, load_scenarios

_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""What typer raises for wrong arguments: click's base exception, of which some versions carry their own copy."""


app = typer.Typer(cls=Group, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def sugarbush(
    load: Annotated[
        list[Path] | None, typer.Option(help="A file with scenarios of your own; repeatable.")
    ] = None,
) -> None:
    """A correctness harness for locks and RCU: every interleaving that matters, replayable from one line."""
    if load:
        # They are known before the user's own, of which one may not take the name of another.
        load_scenarios()
        from sugarbush.stress.kit import load_file

        for path in load:
            load_file(path)


def main(arguments: list[str] | None = None) -> None:
    """The console script: run a command and exit with its status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:2] == ["lockdep", "run"]:
        # Here, since no other command needs it, and each would load it.
        from sugarbush.lockdep.cli import run_program

        sys.exit(run_program(words[2:]))
    hear_signals()
    sys.exit(ended("sugarbush", lambda: _run(arguments), _usage, _place))


def _run(arguments: list[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if words == ["list"]:
        # Nothing has to be parsed here, for which typer would load pydantic: twice as long as Python takes to start.
        from sugarbush.stress.cli.commands.list import show_all

        show_all()
        return 0
    command = typer.main.get_command(app)
    try:
        # A command that shows its help gives nothing.
        return int(command.main(arguments, prog_name="sugarbush", standalone_mode=False) or 0)
    except typer.Abort as error:
        # That is how typer passes an interrupt on, but an EOFError, too.
        raise error.__cause__ or KeyboardInterrupt from None


def _usage(error: BaseException) -> str | None:
    if isinstance(error, _UsageError):
        return str(error.format_message())  # type: ignore[attr-defined]
    return None


def _place(error: BaseException) -> str | None:
    # Who has loaded no file of his own has not loaded this either.
    if "sugarbush.stress.kit" not in sys.modules:
        return None
    from sugarbush.stress.kit import place_of

    return place_of(error)
