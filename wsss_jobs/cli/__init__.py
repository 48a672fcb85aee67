"""The command line: few verbs, each answering one question of the operator."""

from wsss_jobs.cli.main import main

__all__ = ["main"]
