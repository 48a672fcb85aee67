"""Half precision: what the decoder is fed, and what it does to the losses; encoders that do not fit together."""

from dataclasses import replace

import pytest
import torch

from models.adversarial.pair import AdversarialPair
from models.adversarial.reconstructor import build_reconstructor
from models.errors import InvalidInputError


def test_all_copies_go_through_the_decoder_in_half_precision(pair, batch):
    """They are the largest tensors of a step: a float32 mask would bring them back to float32."""
    players, fed = pair(), []
    players.reconstructor.decoder.register_forward_pre_hook(lambda module, args: fed.append(args[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        players.reconstructor_losses(players.reconstructor, batch)
        players.classifier_losses(players.classifier, batch)
    assert fed == [torch.bfloat16] * 5  # whole and two copies, then two copies


def test_losses_in_half_precision_are_close_to_those_in_float32(pair, batch):
    players = pair()
    players.reconstructor.decoder.eval()  # no dropout
    expected = players.reconstructor_losses(players.reconstructor, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = players.reconstructor_losses(players.reconstructor, batch)
    assert found["loss"].dtype == torch.float32
    for name in ("target", "rest", "whole"):
        assert found[name].item() == pytest.approx(expected[name].item(), rel=0.05), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalisation": "symmetric"}, "normalisation"),
        ({"size_multiple": 32, "size_offset": 1}, "size_offset"),
    ],
)
def test_encoders_that_see_images_differently_are_refused(pair, change, message):
    """One batch goes through both: the second would be fed wrongly, without a word."""
    players = pair()
    settings = players.reconstructor.config
    other = build_reconstructor(replace(settings, encoder=replace(settings.encoder, **change)))
    with pytest.raises(InvalidInputError, match=message):
        AdversarialPair(players.classifier, other, players.terms)
