"""ACR's encoders: BatchNorm, dropout and early stages as their config says."""

from torch import nn

from models.adversarial.config import TrainedEncoderConfig
from models.backbones import Encoder, build_encoder


def build_trained_encoder(config: TrainedEncoderConfig, *, load_weights: bool = True) -> Encoder:
    """Returns the encoder, with BatchNorm and dropout as the settings say."""
    encoder = build_encoder(config.encoder, load_weights=load_weights)
    encoder.trains_batch_norm = config.train_batch_norm
    if config.dropout is not None:
        for module in encoder.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = config.dropout
    return encoder


def frozen_parameters(config: TrainedEncoderConfig, encoder: Encoder) -> list[nn.Parameter]:
    """Returns what of the encoder stays as it is."""
    frozen = [] if config.train_batch_norm_affine else encoder.batch_norm_parameters()
    return frozen + encoder.stage_parameters(min(config.frozen_stages, encoder.num_stages))
