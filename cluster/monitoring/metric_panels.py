"""One panel for each row of the table of metrics, so that a new metric is on the dashboard without further work."""

from cluster.metrics import MetricSpec
from cluster.monitoring.panels import Panel, Query

RUN = 'run=~"$run"'


def metric_panel(spec: MetricSpec) -> Panel:
    """The panel of one metric: counters as rates, gauges as they are, histograms as quantiles."""
    build = {"counter": _rate, "gauge": _value, "histogram": _quantiles}[spec.kind]
    return build(spec)


def _rate(spec: MetricSpec) -> Panel:
    expr = f"sum by ({_by(spec)}) (rate({spec.series}{{{RUN}}}[$__rate_interval]))"
    unit = "none" if spec.name.endswith("_seconds") else "cps"  # seconds a second: how many work at a time
    return Panel(f"{spec.description}, a second", (Query(expr, _legend(spec)),), unit, spec.name)


def _value(spec: MetricSpec) -> Panel:
    expr = f"sum by ({_by(spec)}) ({spec.series}{{{RUN}}})"
    return Panel(spec.description, (Query(expr, _legend(spec)),), _unit(spec), spec.name)


def _quantiles(spec: MetricSpec) -> Panel:
    buckets = f"sum by ({_by(spec)}, le) (rate({spec.series}_bucket{{{RUN}}}[$__rate_interval]))"
    queries = tuple(
        Query(f"histogram_quantile({quantile}, {buckets})", f"{_legend(spec)} {name}")
        for quantile, name in ((0.5, "median"), (0.95, "95 %"))
    )
    return Panel(spec.description, queries, _unit(spec), f"{spec.name}, from ranges: a rough figure")


def _by(spec: MetricSpec) -> str:
    return ", ".join(("run", *spec.tags))


def _legend(spec: MetricSpec) -> str:
    return " ".join(f"{{{{{tag}}}}}" for tag in ("run", *spec.tags))


def _unit(spec: MetricSpec) -> str:
    return "s" if spec.name.endswith("_seconds") else "short"
