"""The static HTML report of a run: what was made, how good it is, and pictures of it (docs/report.md)."""
