import numpy as np
import pytest
import torch

from models.errors import InvalidInputError
from models.propagation.gcn.counter_random import (
    KeepMasks,
    dropout_keys,
    hash_bits,
    item_key,
    keep_threshold,
    uniform,
)


def plain_hash(counter, key):
    """The same mixer with Python's unbounded integers."""
    mask = 2**32 - 1
    x = counter ^ key[0]
    x ^= x >> 16
    x = x * 0x7FEB352D & mask
    x ^= x >> 15
    x ^= key[1]
    x = x * 0x846CA68B & mask
    return x ^ x >> 16


def test_numpy_equals_plain_integers():
    key = item_key(7, "image", "dropout")
    counter = np.array([0, 1, 2, 12345, 2**31 - 1, 2**32 - 1], dtype=np.uint32)
    assert hash_bits(counter, key).tolist() == [plain_hash(int(c), [int(k) for k in key]) for c in counter]


def test_keys_are_fixed_for_ever():
    """Changing these numbers changes every result: bump the stage's VERSION with them."""
    assert item_key(0, "2007_000032", "dropout").tolist() == [0x9763AE6, 0xAE233FE]
    assert dropout_keys(0, "2007_000032", 3)[2].tolist() == [3742986964, 2107981658]


def test_masks_equal_the_hash_against_the_threshold():
    keys = dropout_keys(3, "image", 4)
    masks = KeepMasks(keys, 57, 16, 0.3, torch.zeros(1, dtype=torch.float64))
    for step in (3, 0, 2):
        bits = hash_bits(np.arange(57 * 16, dtype=np.uint32), keys[step]).reshape(57, 16)
        expected = np.where(bits >= keep_threshold(0.3), 1 / 0.7, 0.0)
        np.testing.assert_array_equal(masks.factor(step).numpy(), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5, 0.9])
def test_keep_rate_and_scale(dropout):
    masks = KeepMasks(dropout_keys(0, "a", 20), 2000, 16, dropout, torch.zeros(1))
    factors = torch.stack([masks.factor(step).clone() for step in range(20)])
    kept = (factors > 0).double().mean().item()
    assert kept == pytest.approx(1 - dropout, abs=5 * (dropout * (1 - dropout) / factors.numel()) ** 0.5 + 1e-12)
    assert factors.max().item() == pytest.approx(1 / (1 - dropout))


def test_draws_are_independent_across_steps_nodes_units_items_and_seeds():
    """Correlations of 0/1 masks stay within 5 standard errors of 0."""

    def mask(seed, item, step):
        return KeepMasks(dropout_keys(seed, item, step + 1), 4000, 16, 0.3, torch.zeros(1)).factor(step) > 0

    base = mask(0, "a", 5).numpy()
    others = {
        "step": mask(0, "a", 6).numpy(),
        "item": mask(0, "b", 5).numpy(),
        "seed": mask(1, "a", 5).numpy(),
        "node": np.roll(base, 1, axis=0),
        "unit": np.roll(base, 1, axis=1),
        "row": np.roll(base, 125, axis=0),
    }
    for name, other in others.items():
        correlation = np.corrcoef(base.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / base.size**0.5, name


def test_uniform_is_symmetric_and_fills_the_interval():
    values = uniform(0, "a", "weight1", (100, 160))
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1 / 3**0.5, rel=0.02)
    assert -1 < values.min() < -0.999
    assert 0.999 < values.max() < 1


def test_too_many_units_are_rejected():
    with pytest.raises(InvalidInputError, match="too many"):
        KeepMasks(dropout_keys(0, "a", 1), 2**27, 16, 0.3, torch.zeros(1))
