"""What a classifier takes an image for, against a plain restatement."""

import numpy as np
import pytest
import torch

from models.backbones import EncoderConfig
from models.classifiers.cam import CamClassifierConfig, build_cam_classifier
from models.classifiers.class_probabilities import class_probabilities
from models.errors import InvalidInputError
from models.images import resize

ENCODER = EncoderConfig("resnet18", weights=None, output_stride=16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_cam_classifier(CamClassifierConfig(ENCODER), 4).eval()


def test_probabilities_are_those_of_the_mean_of_both_views(model):
    image_HW3 = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    image_3HW = model.encoder.normalisation(resize(image_HW3, (32, 64)))
    height, width = ENCODER.padded_size((32, 64))
    padded_3HW = torch.zeros(3, height, width)
    padded_3HW[:, :32, :64] = image_3HW
    with torch.no_grad():
        logits = [model(view[None])[0, 0] for view in (padded_3HW, padded_3HW.flip(-1))]
    exponentials = ((logits[0] + logits[1]) / 2).exp()
    found = class_probabilities(model, image_HW3, 64)
    assert torch.allclose(found, exponentials / exponentials.sum(), atol=1e-5)
    assert not found.requires_grad


def test_a_mirrored_image_is_taken_for_the_same(model):
    image_HW3 = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mirrored_HW3 = np.ascontiguousarray(image_HW3[:, ::-1])
    found = [class_probabilities(model, image, 64) for image in (image_HW3, mirrored_HW3)]
    assert torch.allclose(*found, atol=1e-5)


def test_what_is_no_rgb_image_is_named(model):
    with pytest.raises(InvalidInputError):
        class_probabilities(model, np.zeros((8, 8), dtype=np.uint8), 64)
