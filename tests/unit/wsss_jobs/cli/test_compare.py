import pytest

from wsss_jobs.cli.compare import parse_seeds
from wsss_jobs.errors import ConfigError


def test_seeds_are_numbers():
    assert parse_seeds("0") == (0,)
    assert parse_seeds("0, 2,10") == (0, 2, 10)


@pytest.mark.parametrize("text", ["", "1,,2", "-1", "1.5", "a", "1,1"])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="different numbers from 0 on"):
        parse_seeds(text)
