"""The command line. Each command is one file, imported only when it is used, so that `--help` answers at once."""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from typing import Any

import click

from monitor import __version__
from monitor.errors import ConfigError, HeistwatchError
from monitor.registry import did_you_mean

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "init": ("monitor.cli.init", "Write a commented starting configuration."),
    "check": ("monitor.cli.check", "Validate a configuration; --online reaches everything that it names."),
    "watch": ("monitor.cli.watch", "Follow the chains, detect, alert."),
    "backtest": ("monitor.cli.backtest", "The same engine over history."),
    "demo": ("monitor.cli.demo", "See real thefts of history caught live, on this machine alone."),
    "fetch": ("monitor.cli.fetch", "History from the configured endpoints into a folder of Parquet."),
    "calibrate": ("monitor.cli.calibrate", "Learn from history, so that `watch` starts warm."),
    "case": ("monitor.cli.case", "Built-in historical thefts: list, show, run."),
    "incidents": ("monitor.cli.incidents", "List and show incidents; confirm or dismiss them."),
    "deliveries": ("monitor.cli.deliveries", "What was sent to whom, and what waits."),
    "silence": ("monitor.cli.silence", "Do not say some messages for a while: add, list and end silences."),
    "routes": ("monitor.cli.routes", "Who would be told of what, when, and how it would look."),
    "webhook": ("monitor.cli.webhook", "The receiver's side of webhooks: listen, print, verify."),
    "drill": ("monitor.cli.drill", "Does an alarm arrive? A theft that is not real, through everything."),
    "coverage": ("monitor.cli.coverage", "Which blocks were scanned, through what, and what could not be seen."),
    "controls": ("monitor.cli.controls", "Who may move the coins of each account, as far as it was read."),
    "labels": ("monitor.cli.labels", "What is known of addresses: import it, look it up."),
    "detectors": ("monitor.cli.detectors", "What each detector catches, misses and takes for a theft."),
    "schema": ("monitor.cli.schema", "JSON Schemas of the configuration and of webhooks."),
}

NEXT = """heistwatch tells the owner of a wallet within one block that their coins are being stolen.

What to do next:

  heistwatch case run coincheck-2018      see it catch a real theft of history
  heistwatch init --out heistwatch.yaml   write a configuration, then put your addresses in
  heistwatch check heistwatch.yaml        is it right?  (--online: can everything be reached?)
  heistwatch backtest heistwatch.yaml --data history.parquet
                                          what would have alarmed in the past
  heistwatch watch heistwatch.yaml        watch; without receivers alerts come to this terminal

heistwatch --help lists all commands."""


class _Lazy(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            raise click.UsageError(f"no command {args[0]!r}: {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="heistwatch")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Tells the owner of a wallet within one block that their coins are being stolen."""
    ctx.obj = {"debug": debug}
    if ctx.invoked_subcommand is None:
        click.echo(NEXT)


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit with its code: see the contract of exit codes in docs/reference.md."""
    arguments = sys.argv[1:] if argv is None else argv
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    try:
        result: Any = cli.main(arguments, prog_name="heistwatch", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.UsageError as error:
        _say(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except BaseExceptionGroup as group:
        return _failed(_innermost(group), debug)
    except Exception as error:
        return _failed(error, debug)


def _innermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real error of a task group."""
    for error in group.exceptions:
        return _innermost(error) if isinstance(error, BaseExceptionGroup) else error
    return group


def _failed(error: BaseException, debug: bool) -> int:
    if debug:
        raise error
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return 130
    if isinstance(error, ConfigError):
        for problem in error.problems:
            _say(str(problem))
        return error.exit_code
    if isinstance(error, HeistwatchError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
        _say(f"what was found cannot be written: {error.strerror}")
        return 2
    if isinstance(error, OSError) and error.filename:
        _say(f"{error.filename}: {error.strerror}")
        return 2
    _say(f"internal error, please report it: {type(error).__name__}: {error} (--debug shows where)")
    return 1


def _say(text: str) -> None:
    from monitor.addresses.extended import hide_private  # loads a library: only where it is needed

    for line in hide_private(text).splitlines() or [""]:
        print(f"heistwatch: {line}", file=sys.stderr)
