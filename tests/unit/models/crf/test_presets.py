import pytest

from models.crf.presets import PRESETS, get_preset
from models.errors import InvalidInputError

# (sxy, compat), (sxy, srgb, compat), iterations, unary: as the papers' code has them.
PUBLISHED = {
    "irn_affinity_labels": (3, 3, 50, 5, 10, 10, "labels"),
    "psa_affinity_labels": (3, 3, 80, 13, 10, 10, "probabilities"),
    "wsgcn_partial_labels": (4, 3, 20, 3, 10, 10, "probabilities"),
    "wsgcn_complete_labels": (3, 3, 50, 5, 3, 10, "softmax"),
    "pydensecrf_readme": (3, 3, 80, 13, 10, 5, "labels"),
    "acr_cam": (3, 3, 80, 13, 10, 10, "probabilities"),
    "deeplab_v2_segmentation": (1, 3, 67, 3, 4, 10, "probabilities"),
    "isim_pseudo_labels": (3, 3, 50, 5, 10, 10, "labels"),
    "isim_final_pseudo_masks": (3, 3, 50, 5, 10, 1, "labels"),
    "isim_segmentation": (3, 3, 80, 13, 10, 10, "probabilities"),
    "mctformer_segmentation": (4, 3, 83, 5, 3, 10, "probabilities"),
}


def test_every_published_set_is_there():
    assert PRESETS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_values(name):
    preset = get_preset(name)
    config = preset.config
    found = config.gaussian_sxy_px, config.gaussian_compat, config.bilateral_sxy_px, config.bilateral_srgb
    assert (*found, config.bilateral_compat, config.num_iterations, preset.unary) == PUBLISHED[name]
    assert preset.source


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(InvalidInputError, match="did you mean 'psa_affinity_labels'"):
        get_preset("psa_afinity_labels")
    with pytest.raises(InvalidInputError, match="there are: irn_affinity_labels"):
        get_preset("zzz")
