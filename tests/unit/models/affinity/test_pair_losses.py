"""IRNet's losses against loops over pairs, and against values worked out by hand."""

import math

import pytest
import torch

from models.affinity.pair_losses import irnet_losses
from models.affinity.pixel_pairs import half_plane_offsets, path_cells
from models.errors import InvalidInputError


def plain_losses(boundary, displacement, label, radius):
    """The definition, pair by pair in Python floats."""
    batch, height, width = boundary.shape
    sums = {"bg": [], "fg": [], "neg": [], "dfg": [], "dbg": []}
    for n in range(batch):
        for y in range(height - radius + 1):
            for x in range(radius - 1, width - radius + 1):
                for dy, dx in half_plane_offsets(radius):
                    here, there = int(label[n, y, x]), int(label[n, y + dy, x + dx])
                    if 255 in (here, there):
                        continue
                    a = 1 - max(float(boundary[n, y + py, x + px]) for py, px in path_cells((dy, dx)))
                    if here != there:
                        sums["neg"].append(-math.log(1 + 1e-5 - a))
                        continue
                    sums["bg" if here == 0 else "fg"].append(-math.log(a + 1e-5))
                    if displacement is not None:
                        shift = [float(displacement[n, c, y, x] - displacement[n, c, y + dy, x + dx]) for c in (0, 1)]
                        wanted = (dy, dx) if here else (0, 0)
                        error = sum(abs(s - w) for s, w in zip(shift, wanted, strict=True))
                        sums["dfg" if here else "dbg"].append(error)
    mean = {key: sum(values) / (len(values) + 1e-5) for key, values in sums.items()}
    half = {key: sum(values) / (2 * len(values) + 1e-5) for key, values in sums.items()}
    return 0.5 * mean["bg"] + 0.5 * mean["fg"], mean["neg"], half["dfg"], half["dbg"]


@pytest.mark.parametrize("radius", [2, 3, 4])
def test_losses_equal_the_loop_over_pairs(radius):
    generator = torch.Generator().manual_seed(radius)
    boundary = torch.rand(2, 9, 11, generator=generator) * 0.98
    displacement = torch.randn(2, 2, 9, 11, generator=generator)
    label = torch.tensor([0, 0, 1, 3, 255])[torch.randint(0, 5, (2, 9, 11), generator=generator)]
    losses = irnet_losses(boundary, displacement, label, radius)
    positive, negative, shift_fg, shift_bg = plain_losses(boundary, displacement, label, radius)
    assert float(losses.positive) == pytest.approx(positive, rel=1e-4)
    assert float(losses.negative) == pytest.approx(negative, rel=1e-4)
    assert float(losses.displacement_foreground) == pytest.approx(shift_fg, rel=1e-4)
    assert float(losses.displacement_background) == pytest.approx(shift_bg, rel=1e-4)
    assert float(losses.total) == pytest.approx((positive + negative) / 2 + (shift_fg + shift_bg) / 2, rel=1e-4)


def test_a_displacement_field_that_points_to_one_centre_costs_nothing():
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    towards_centre = torch.stack([4 - rows, 4 - columns])[None]
    losses = irnet_losses(torch.zeros(1, 8, 9), towards_centre, torch.ones(1, 8, 9, dtype=torch.long), 3)
    assert float(losses.displacement_foreground) == pytest.approx(0, abs=1e-5)
    assert float(losses.displacement_background) == 0


def test_without_boundaries_equal_pairs_cost_nothing_and_unequal_ones_the_most():
    label = torch.zeros(1, 8, 9, dtype=torch.long)
    label[:, :, 5:] = 2
    losses = irnet_losses(torch.zeros(1, 8, 9), None, label, 3)
    assert float(losses.positive) == pytest.approx(0, abs=2e-5)
    assert float(losses.negative) == pytest.approx(-math.log(1e-5), rel=1e-3)


def test_gradient_of_a_path_maximum_goes_to_one_cell():
    boundary = torch.full((1, 5, 7), 0.5, requires_grad=True)
    irnet_losses(boundary, None, torch.zeros(1, 5, 7, dtype=torch.long), 2).positive.backward()
    # d(-ln(1 - b))/db = 2 for each of the pairs, shared out without loss or doubling: mean over pairs, half weight.
    assert float(boundary.grad.sum()) == pytest.approx(0.5 * 2.0, rel=1e-3)


def test_all_ignored_labels_give_zero_and_no_nan():
    losses = irnet_losses(torch.rand(1, 8, 9), torch.randn(1, 2, 8, 9), torch.full((1, 8, 9), 255), 3)
    assert float(losses.total) == 0.0


def test_a_grid_too_small_for_the_radius_is_refused():
    with pytest.raises(InvalidInputError, match="too small for radius 10"):
        irnet_losses(torch.zeros(1, 16, 16), None, torch.zeros(1, 16, 16, dtype=torch.long), 10)
