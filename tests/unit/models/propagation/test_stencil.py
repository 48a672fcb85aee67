import numpy as np
import pytest
import torch

from models.affinity.pixel_pairs import half_plane_offsets, half_square_offsets, pair_windows
from models.propagation.stencil import GridStencil


def random_stencil(height, width, offsets, seed=0):
    """A stencil and the dense symmetric matrix that it stands for."""
    generator = torch.Generator().manual_seed(seed)
    planes_Phw = torch.zeros(len(offsets), height, width, dtype=torch.float64)
    diagonal_hw = torch.rand(height, width, generator=generator, dtype=torch.float64)
    matrix = np.diag(diagonal_hw.numpy().ravel())
    for plane, (dy, dx) in zip(planes_Phw, offsets, strict=True):
        for y in range(height):
            for x in range(width):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    plane[y, x] = torch.rand((), generator=generator, dtype=torch.float64)
                    i, j = y * width + x, (y + dy) * width + x + dx
                    matrix[i, j] = matrix[j, i] = plane[y, x]
    return GridStencil(tuple(offsets), planes_Phw, diagonal_hw), matrix


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (8, 1), (3, 2), (6, 7)])
@pytest.mark.parametrize("offsets", [half_plane_offsets(3), half_plane_offsets(5), half_square_offsets(2)])
def test_every_form_equals_the_dense_matrix(height, width, offsets):
    stencil, matrix = random_stencil(height, width, offsets)
    num_nodes = height * width
    x_Khw = torch.rand(2, height, width, dtype=torch.float64)
    row_hw, column_hw = torch.rand(2, height, width, dtype=torch.float64)
    csr = stencil.to_csr(stencil.pattern(), row_hw, column_hw)
    scaled = row_hw.numpy().reshape(-1, 1) * matrix * column_hw.numpy().reshape(1, -1)
    np.testing.assert_allclose(csr.to_dense().numpy(), scaled, rtol=1e-14)
    np.testing.assert_allclose(
        stencil.apply(x_Khw).numpy().reshape(2, num_nodes).T, matrix @ x_Khw.numpy().reshape(2, num_nodes).T, rtol=1e-13
    )
    np.testing.assert_allclose(stencil.row_sums_hw().numpy().ravel(), matrix.sum(axis=1), rtol=1e-13)


def test_columns_ascend_within_each_row():
    stencil, _ = random_stencil(4, 6, half_plane_offsets(5))
    pattern = stencil.pattern()
    for start, stop in zip(pattern.crow[:-1].tolist(), pattern.crow[1:].tolist(), strict=True):
        assert (pattern.columns[start:stop].diff() > 0).all()


@pytest.mark.parametrize(
    ("height", "width", "radius", "num_entries", "num_full"),
    [(94, 125, 5, 781_206, 10_062), (94, 125, 10, 3_308_684, 8_132), (47, 63, 5, 189_589, 2_145)],
)
def test_graph_sizes_of_a_voc_image(height, width, radius, num_entries, num_full):
    offsets = tuple(half_plane_offsets(radius))
    zeros_hw = torch.zeros(height, width)
    counts = GridStencil(offsets, zeros_hw.expand(len(offsets), -1, -1), zeros_hw).pattern().crow.diff()
    assert int(counts.sum()) == num_entries
    assert int((counts == 2 * len(offsets) + 1).sum()) == num_full


def test_laplacian_window_of_a_voc_image_has_the_published_number_of_pairs():
    pairs = 0
    for offset in half_square_offsets(2):
        windows = pair_windows(offset, 94, 125)
        rows, columns = windows[0]
        pairs += len(range(*rows.indices(94))) * len(range(*columns.indices(125)))
    assert pairs == 137_733
