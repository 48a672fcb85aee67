"""One claim a file: each prints a ratio against a named baseline in the same run."""
