"""The command line: ``sugarbush``.

Exit status: 0 nothing found, 1 a failure was found, 2 unusable input or nothing explored (one line on standard error),
70 a mistake of Sugarbush's own, 130 interrupted, 141 nobody reads what is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from loguru import logger

from sugarbush.lockdep.outside import ended, hear_signals
from sugarbush.stress.cli.commands.catalogue import catalogue_command
from sugarbush.stress.cli.commands.list import list_command
from sugarbush.stress.cli.commands.litmus import litmus_command
from sugarbush.stress.cli.commands.lockdep import lockdep_command
from sugarbush.stress.cli.commands.minimise import minimise_command
from sugarbush.stress.cli.commands.prove import prove_command
from sugarbush.stress.cli.commands.replay import replay_command
from sugarbush.stress.cli.commands.report import report_command
from sugarbush.stress.cli.commands.run import run_command
from sugarbush.stress.kit import load_file, place_of, registry

registry.load()
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""What typer raises for wrong arguments: click's base exception, of which some versions carry their own copy."""


class _Once(typer.core.TyperCommand):
    """A command whose options stand once each: of two values one would be ignored, and nobody would know which."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click."""
        given = self.make_parser(ctx).parse_args(args=list(args))[2]
        for option in dict.fromkeys(given):
            if given.count(option) > 1 and not option.multiple and isinstance(option, typer.core.TyperOption):
                ctx.fail(f"{option.opts[0]} stands there twice: leave one of them out")
        return super().parse_args(ctx, args)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def sugarbush(
    load: Annotated[
        list[Path] | None, typer.Option(help="A file with scenarios of your own; repeatable.")
    ] = None,
) -> None:
    """A correctness harness for locks and RCU: every interleaving that matters, replayable from one line."""
    for path in load or ():
        load_file(path)


app.command("list", cls=_Once)(list_command)
app.command("run", cls=_Once, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    run_command
)
app.command("prove", cls=_Once)(prove_command)
app.command("replay", cls=_Once)(replay_command)
app.command("minimise", cls=_Once)(minimise_command)
app.command("catalogue", cls=_Once)(catalogue_command)
app.command("report", cls=_Once)(report_command)
app.command("lockdep", cls=_Once)(lockdep_command)
app.command("litmus", cls=_Once)(litmus_command)


def main(arguments: list[str] | None = None) -> None:
    """The console script: run a command and exit with its status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:2] == ["lockdep", "run"]:
        # Here, since no other command needs it, and each would load it.
        from sugarbush.lockdep.cli import run_program

        sys.exit(run_program(words[2:]))
    hear_signals()
    sys.exit(ended("sugarbush", lambda: _run(arguments), _usage, place_of))


def _run(arguments: list[str] | None) -> int:
    logger.remove()
    logger.add(sys.stderr, format="{time:HH:mm:ss} {message}")
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
