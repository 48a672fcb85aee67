"""What drivers have published, in words."""

from collections.abc import Mapping, Sequence

from wsss_jobs.errors import ConfigError
from wsss_jobs.job_progress import JobProgress, Usage

_HOUR_S = 3600.0


def parse_prices(text: str) -> dict[str, float]:
    """Returns the price an hour by resource, from `cpu=0.05,gpu=1.2`; empty for an empty text.

    Raises:
        ConfigError: Another resource, or no number.
    """
    prices = {}
    for entry in filter(None, text.split(",")):
        name, _, value = entry.strip().partition("=")
        try:
            prices[name] = float(value)
        except ValueError:
            prices[name] = -1.0
        if name not in {"cpu", "gpu"} or not prices[name] >= 0:
            raise ConfigError(f"--price-per-hour {entry!r}: write cpu=0.05,gpu=1.2 (of one core, of one GPU)")
    return prices


def progress_lines(drivers: Sequence[JobProgress], now: float, prices: Mapping[str, float]) -> list[str]:
    """Returns what is known of a recipe's drivers; of all, the latest in detail.

    Args:
        drivers: The first one first.
        now: Unix time, s.
        prices: An hour of one `cpu` and one `gpu`; empty for no costs.
    """
    if not drivers:
        return ["No driver has worked on it yet."]
    lines = [line for driver in drivers[:-1] if driver.state == "running" for line in _driver_lines(driver, now)]
    lines += _driver_lines(drivers[-1], now)
    used = sum((driver.used for driver in drivers), Usage())
    present = sum((driver.present for driver in drivers), Usage())
    count = f"{len(drivers)} drivers" if len(drivers) > 1 else "one driver"
    lines.append(f"used by workers of {count}: {_amount(used, prices)}; the whole cluster meanwhile: "
                 f"{_amount(present, prices)}")  # fmt: skip
    return lines


def _driver_lines(driver: JobProgress, now: float) -> list[str]:
    name = driver.submission_id or driver.driver_id
    heard = f"last heard {duration(now - driver.updated_at)} ago"
    if driver.is_silent(now):
        return [f"{name}: SILENT, {heard}: it was killed, or hangs. Submit or run the recipe again to go on."]
    if driver.state != "running":
        why = f": {driver.message.splitlines()[0]}" if driver.message else ""
        return [f"{name}: {driver.state} after {duration(driver.updated_at - driver.started_at)}, {heard}{why}"]
    moved = f"last progress {duration(now - driver.moved_at)} ago"
    lines = [f"{name}: running on {driver.device} for {duration(now - driver.started_at)}, {heard}, {moved}"]
    if driver.waiting_for:
        lines.append(f"waits: {driver.waiting_for}")
    if driver.pools:
        pools = ", ".join(f"{pool.stage} {pool.num_alive} of {pool.num_wanted}" for pool in driver.pools)
        lines.append(f"workers alive: {pools}")
    if driver.items_per_s:
        eta = "" if driver.eta_s is None else f", this stage is done in about {duration(driver.eta_s)}"
        lines.append(f"{driver.items_per_s:.2f} a second{eta}")
    return lines


def _amount(usage: Usage, prices: Mapping[str, float]) -> str:
    hours = f"{usage.cpu_s / _HOUR_S:.2f} CPU-hours, {usage.gpu_s / _HOUR_S:.2f} GPU-hours"
    return f"{hours} (cost {usage.cost(dict(prices)):.2f})" if prices else hours


def duration(seconds: float) -> str:
    """Returns a duration in the two largest units, such as `2 h 5 min`; a negative one, from another clock, is 0 s."""
    whole = max(int(seconds), 0)
    for size, unit, small_size, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small_size} {small}"
    return f"{whole} s"
