"""Where commands print."""

import os
import sys

from rich.console import Console

_WIDTH_IN_A_FILE = 120  # columns, where rich would take 80: tables of seven columns would not fit


def make_console() -> Console:
    """Returns a console as wide as the terminal, or as COLUMNS says; where there is no terminal at all, 120 columns."""
    is_anywhere = any(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))  # such as before `| less`
    return Console(width=None if is_anywhere or "COLUMNS" in os.environ else _WIDTH_IN_A_FILE)
