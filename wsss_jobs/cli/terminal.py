"""Where commands print."""

import os
import sys

from rich.console import Console

_WIDTH_IN_A_FILE = 120  # columns, where rich would take 80: tables of seven columns would not fit


def make_console() -> Console:
    """Returns a console as wide as the terminal, or as COLUMNS says; in a file or a job's log, 120 columns."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_IN_A_FILE)
