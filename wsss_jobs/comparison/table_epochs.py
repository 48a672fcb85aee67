"""A table whose columns are epochs of a training: which ones they are, from the plans of the variants."""

from collections.abc import Iterator, Mapping

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.errors import ConfigError
from wsss_jobs.pipeline import Plan
from wsss_jobs.report.cam_epochs import cam_epoch


def column_epochs(comparison: Comparison, key: str, plans: Mapping[str, Plan]) -> dict[str, int]:
    """Returns the epoch of each column in which we have CAMs, in the order of the epochs.

    Args:
        key: Of a table that is over epochs.
        plans: By variant; cells of variants that are left out (`--only`) are left out too.

    Raises:
        ConfigError: A column has something else than CAMs, or CAMs of different epochs, or that of another column.
    """
    epochs: dict[str, int] = {}
    for column, name in _cells(comparison, key):
        method = comparison.methods[name]
        if (plan := plans.get(method.variant)) is None:
            continue
        epoch = cam_epoch(plan.stage_of(method.step), plan)
        where = f"tables.{key}.columns.{column}"
        if epoch is None:
            raise ConfigError(f"{where}: over_epochs is for CAMs of infer_cams, and {name!r} is {method.step!r}")
        if epochs.setdefault(column, epoch) != epoch:
            raise ConfigError(f"{where}: {name!r} is of epoch {epoch}, another row of epoch {epochs[column]}")
    if len(set(epochs.values())) < len(epochs):
        raise ConfigError(f"tables.{key}: two columns are of one epoch, one has to go: {epochs}")
    return dict(sorted(epochs.items(), key=lambda entry: entry[1]))


def _cells(comparison: Comparison, key: str) -> Iterator[tuple[str, str]]:
    """Yields column and method of each cell that is ours."""
    table = comparison.tables[key]
    for row in table.rows:
        for column in table.columns:
            if (name := row.our_method(column)) is not None:
                yield column, name
