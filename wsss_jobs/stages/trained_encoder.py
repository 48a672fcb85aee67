"""The encoder that an affinity network stands on: one of its own, or that of the trained classifier."""

from dataclasses import replace

from models.backbones import Encoder, EncoderConfig, build_encoder
from models.classifiers.class_token_transformer import ClassTokenTransformer
from wsss_jobs import networks
from wsss_jobs.errors import StageError
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
    classifier = networks.load_classifier(context.artifacts["classifier"] / networks.FILE_NAME)
    if isinstance(classifier, ClassTokenTransformer):
        raise StageError("encoder: null takes the classifier's, and a transformer has no taps; name an encoder instead")
    if dilate is None:
        return classifier.config.encoder, classifier.encoder
    dilated = replace(classifier.config.encoder, dilate=dilate)
    encoder = build_encoder(dilated, load_weights=False)
    encoder.load_state_dict(classifier.encoder.state_dict())
    return dilated, encoder
