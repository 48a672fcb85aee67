"""Numbers as the report prints them."""

import math

MISSING = "–"


def percent(fraction: float | None) -> str:
    """Returns a fraction in percent with one decimal, without the sign; a dash where there is none."""
    return MISSING if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f}"


def points(difference: float | None) -> str:
    """Returns a difference of two fractions in percentage points, with its sign."""
    if difference is None or math.isnan(difference):
        return MISSING
    rounded = round(100 * difference, 1) + 0.0  # no minus zero
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "±0.0"


def duration(seconds: float | None) -> str:
    """Returns seconds in the two largest units that count."""
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def count(number: int) -> str:
    """Returns a count with thousands separated."""
    return f"{number:,}"
