"""One number for each lattice point: never two points with one number, never a number out of range."""

import itertools

import numpy as np
import pytest
import torch

from models.crf.lattice_codes import make_codes
from models.crf.torch_lattice import _corner_codes, _elevate, _nearest_vertex
from models.errors import InvalidInputError


@pytest.mark.parametrize("extents", [(4.0, 2.0), (0.0, 0.0), (3.0, 2.0, 5.0, 1.0, 4.0)])
def test_codes_tell_points_apart(extents):
    num_features = len(extents)
    generator = torch.Generator().manual_seed(0)
    feature_ND = torch.rand(4000, num_features, generator=generator) * torch.tensor(extents)
    corners = list(itertools.product(*((0.0, extent) for extent in extents)))
    feature_ND = torch.cat((feature_ND, torch.tensor(corners)))
    m_NS, _, rank_NS = _nearest_vertex(_elevate(feature_ND))
    codes = make_codes(extents)
    code_NS = _corner_codes(m_NS, rank_NS, codes).numpy()
    # A vertex v of the simplex is the remainder-0 vertex with 1 off every m whose rank is above d - v.
    v_S = np.arange(num_features + 1)
    m_NVS = m_NS.numpy()[:, None, :] - (rank_NS.numpy()[:, None, :] > num_features - v_S[None, :, None])
    point_NVS = m_NVS - m_NVS[..., -1:]  # a point is m up to a constant in all entries
    points = np.concatenate((point_NVS.reshape(-1, num_features + 1), code_NS.reshape(-1, 1)), axis=1)
    num_pairs = len(np.unique(points, axis=0))
    assert len(np.unique(points[:, :-1], axis=0)) == len(np.unique(points[:, -1])) == num_pairs
    assert code_NS.min() - max(codes.coefficients) >= 0  # one blur step further too


def test_coefficients_sum_to_zero():
    for extents in ((10.0, 7.0), (10.0, 7.0, 51.0, 51.0, 51.0)):
        assert sum(make_codes(extents).coefficients) == 0


def test_too_many_standard_deviations():
    with pytest.raises(InvalidInputError, match="raise sxy_px and srgb"):
        make_codes((10.0, 10.0, 1e4, 1e4, 1e4))
