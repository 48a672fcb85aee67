import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.report.charts import HEIGHT, WIDTH, curve, histogram


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_every_image_is_in_the_bar_of_its_value(values: list[float]):
    chart = histogram(values, num_bars=10)
    assert chart is not None
    assert sum(bar.num_images for bar in chart.bars) == len(values)
    assert max(bar.height for bar in chart.bars) == 1.0
    assert chart.mean == pytest.approx(math.fsum(values) / len(values))


def test_bars_hold_their_lower_end_and_the_last_bar_both():
    chart = histogram([0.0, 0.5, 0.75, 1.0, math.nan], num_bars=4)
    assert chart is not None
    assert [bar.num_images for bar in chart.bars] == [1, 0, 1, 2]
    assert chart.num_images == 4


def test_nothing_finite_has_no_histogram():
    assert histogram([]) is None
    assert histogram([math.nan, math.inf]) is None


def test_a_falling_loss_goes_from_top_left_to_bottom_right():
    line = curve("loss", [4.0, 3.0, 2.0])
    assert line is not None
    (x0, y0), (x1, y1), (x2, y2) = line.points
    assert 0 <= x0 < x1 < x2 <= WIDTH
    assert 0 <= y0 < y1 < y2 <= HEIGHT
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.06)
    assert (line.first, line.last, line.lowest, line.highest) == (4.0, 2.0, 2.0, 4.0)
    assert line.path == f"M{x0:.1f} {y0:.1f} L{x1:.1f} {y1:.1f} L{x2:.1f} {y2:.1f}"


def test_one_epoch_and_constant_losses_lie_in_the_middle():
    one, flat = curve("loss", [2.0]), curve("loss", [1.0, 1.0])
    assert one is not None
    assert one.points[0][0] == WIDTH / 2
    assert flat is not None
    assert len({y for _, y in flat.points}) == 1


def test_curves_with_the_same_limits_lie_in_one_box():
    alone, low, high = curve("a", [2.0, 4.0]), curve("a", [2.0, 4.0], (0.0, 8.0)), curve("b", [4.0, 8.0], (0.0, 8.0))
    low_y, high_y = low.points[0][1], high.points[1][1]  # of the values 2 and 8
    assert low.points[1][1] == high.points[0][1] == pytest.approx(low_y - (low_y - high_y) / 3, abs=0.1)
    assert high.points[1] == alone.points[1]
    assert low.points[0][1] < alone.points[0][1]
    assert (low.lowest, low.highest) == (2.0, 4.0)


def test_an_epoch_without_a_value_is_drawn_over():
    line = curve("loss", [3.0, math.nan, 1.0])
    assert line is not None
    assert len(line.points) == 2
    assert line.points == (curve("loss", [3.0, 2.0, 1.0]).points[0], curve("loss", [3.0, 2.0, 1.0]).points[2])
    assert curve("loss", [math.nan]) is None
