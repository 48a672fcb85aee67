"""Small networks of ACR."""

import pytest
import torch

from models.adversarial.classifier import build_acr_classifier
from models.adversarial.config import AcrClassifierConfig, ReconstructorConfig, UNetConfig
from models.adversarial.loss_forms import AdversarialLossConfig
from models.adversarial.pair import AcrBatch, AdversarialPair
from models.adversarial.reconstructor import build_reconstructor
from models.backbones import EncoderConfig

NUM_CLASSES = 3
ENCODER = EncoderConfig("timm/test_efficientnet", None, output_stride=8)
DECODER = UNetConfig(depth=5, base_channels=4, max_channels=8)


@pytest.fixture
def pair():
    """Returns a function that builds both networks with the same weights every time."""

    def build(form="released", masking="image", encoder=ENCODER, **options):
        torch.manual_seed(0)
        losses = AdversarialLossConfig(form, **options)
        classifier = build_acr_classifier(AcrClassifierConfig(encoder, head_channels=6), NUM_CLASSES)
        settings = ReconstructorConfig(
            encoder, tap_channels=(3, 4, 5), head_channels=4, decoder=DECODER, masking=masking
        )
        head = NUM_CLASSES if losses.terms.classification > 0 else None
        return AdversarialPair(classifier, build_reconstructor(settings, head), losses.terms).train()

    return build


@pytest.fixture
def batch():
    """Four images that are no multiple of anything; the last has no tags."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 52, 44, generator=generator)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
    leak = torch.randint(0, 2, (4, 1, 4, 4), generator=generator).float()
    return AcrBatch(images, labels, torch.tensor([2, 1, 0, -1]), leak)
