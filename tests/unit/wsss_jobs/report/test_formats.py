import math

import pytest

from wsss_jobs.report.formats import count, duration, percent, points


@pytest.mark.parametrize(("value", "text"), [(0.5423, "54.2"), (1.0, "100.0"), (None, "–"), (math.nan, "–")])
def test_percent(value: float | None, text: str):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.131, "+13.1"), (-0.02, "−2.0"), (0.0, "±0.0"), (-0.0001, "±0.0"), (None, "–")]
)
def test_points(value: float | None, text: str):
    assert points(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.012, "12 ms"),
        (3.21, "3.2 s"),
        (59.99, "60.0 s"),
        (61, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (7_200_000, "2,000 h 00 min"),
        (None, "–"),
    ],
)
def test_duration(seconds: float | None, text: str):
    assert duration(seconds) == text


def test_count():
    assert count(10_582) == "10,582"
