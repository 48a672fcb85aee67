"""The encoder that an affinity network stands on: one of its own, or that of the trained classifier."""

from dataclasses import replace

from models.backbones import Encoder, EncoderConfig, build_encoder
from wsss_jobs import networks
from wsss_jobs.records import ARTIFACT_FILE
from wsss_jobs.stages.base import StageContext


def encoder_or_classifiers(
    config: EncoderConfig | None, context: StageContext, *, dilate: bool | None = None
) -> tuple[EncoderConfig, Encoder]:
    """Returns the encoder of `config`; for None that of the classifier, with its weights.

    Args:
        dilate: `dilate` of the classifier's encoder in the new network; None leaves it.

    Raises:
        StageError: The classifier has no encoder with taps.
    """
    if config is not None:
        return config, build_encoder(config)
    own, trained = networks.load_classifier_encoder(context.artifacts["classifier"] / ARTIFACT_FILE)
    if dilate is None:
        return own, trained
    dilated = replace(own, dilate=dilate)
    encoder = build_encoder(dilated, load_weights=False)
    encoder.load_state_dict(trained.state_dict())
    return dilated, encoder
