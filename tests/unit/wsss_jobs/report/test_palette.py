import pytest

from wsss_jobs.report.palette import NUM_HEAT_LEVELS, class_colour, contrast, heat_level, heat_scale, hex_colour


@pytest.mark.parametrize(("class_id", "colour"), [(1, "#800000"), (7, "#808080"), (8, "#400000"), (15, "#c08080")])
def test_classes_have_the_colours_of_voc(class_id: int, colour: str):
    assert hex_colour(class_colour(class_id)) == colour


def test_contrast_is_that_of_wcag():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # WCAG's own example


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_are_readable_on_every_heat_level(dark: bool):
    scale = heat_scale(dark=dark)
    assert [level.level for level in scale] == list(range(NUM_HEAT_LEVELS))
    for level in scale:
        assert contrast(_rgb(level.text), _rgb(level.background)) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_heat_rises_without_a_step_back(dark: bool):
    against_white = [contrast(_rgb(level.background), (255, 255, 255)) for level in heat_scale(dark=dark)]
    assert against_white == sorted(against_white, reverse=dark)
    assert len(set(against_white)) == NUM_HEAT_LEVELS


def test_fractions_fall_on_their_level():
    assert [heat_level(value) for value in (-0.5, 0.0, 0.5, 1.0, 1.5)] == [0, 0, 10, 20, 20]


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
