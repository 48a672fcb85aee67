"""`wsss`: its verbs, and what becomes of errors.

Exit codes: 0 done; 1 failed; 2 bad input; 3 done, but some items could not be; 130 interrupted
(Ctrl-C or SIGTERM).
"""

import logging
import sys
from collections.abc import Callable

import typer
from rich.console import Console
from rich.logging import RichHandler

from cluster.errors import ClusterError
from cluster.interruption import sigterm_as_ctrl_c
from models.errors import InvalidInputError
from wsss_jobs.cli.compare import compare
from wsss_jobs.cli.data import data_app
from wsss_jobs.cli.export import export
from wsss_jobs.cli.inspect import doctor, failed, plan
from wsss_jobs.cli.options import console
from wsss_jobs.cli.quality import quality
from wsss_jobs.cli.results import evaluate, report
from wsss_jobs.cli.run import run
from wsss_jobs.cli.status import status
from wsss_jobs.cli.submit import preflight, stop, submit
from wsss_jobs.cli.verify import verify
from wsss_jobs.errors import ConfigError, DataError, WsssError

app = typer.Typer(
    name="wsss",
    help="Turns images with image-level tags into pixel-wise pseudo labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS: tuple[Callable[..., None], ...] = (
    run,
    compare,
    plan,
    preflight,
    submit,
    status,
    stop,
    failed,
    verify,
    evaluate,
    quality,
    report,
    export,
    doctor,
)
for _verb in _VERBS:
    app.command()(_verb)
app.add_typer(data_app, name="data")

_errors = Console(stderr=True)


def _log_to_stderr() -> None:
    """Logs all that goes on; on a terminal, where bars show that, warnings alone, and above the bars."""
    if console.is_terminal and sys.stderr.isatty():
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console)])
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)


def main() -> None:
    """Runs the command line; errors that a user can act on are printed without a traceback."""
    _log_to_stderr()
    sigterm_as_ctrl_c()
    try:
        app()
    except KeyboardInterrupt:
        _errors.print("\n[yellow]Interrupted.[/yellow] What is done is stored; the same command goes on from there.")
        sys.exit(130)
    except (ConfigError, DataError, InvalidInputError) as error:
        _say("Bad input", error)
        sys.exit(2)
    except (WsssError, ClusterError) as error:
        _say(type(error).__name__.removesuffix("Error"), error)
        sys.exit(1)


def _say(kind: str, error: Exception) -> None:
    _errors.print(f"[red]{kind}:[/red] ", end="")
    _errors.print(str(error), markup=False, highlight=False)
