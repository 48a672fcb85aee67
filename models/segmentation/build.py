"""From a config to a DeepLab with its initial weights."""

from torch import nn

from models.backbones import Encoder, build_encoder
from models.backbones.weights import load_state_dict
from models.errors import InvalidInputError
from models.segmentation.config import DeepLabConfig
from models.segmentation.deeplab import DeepLab
from models.segmentation.initial_weights import load_initial_weights


def build_deeplab(config: DeepLabConfig, num_classes: int, *, load_weights: bool = True) -> DeepLab:
    """Returns the network that `config` describes, for `num_classes` classes with the background.

    Args:
        load_weights: False leaves it randomly initialised, for callers that load a checkpoint of their own.

    Raises:
        InvalidInputError: Encoder, head and weights do not fit each other.
    """
    encoder = build_encoder(config.encoder, load_weights=load_weights and config.weights is None)
    if config.caffe_layout:
        _to_caffe_layout(encoder)
    model = DeepLab(encoder, num_classes, config)
    if load_weights and config.weights is not None:
        load_initial_weights(model, load_state_dict(config.weights), config.weights)
    return model


def _to_caffe_layout(encoder: Encoder) -> None:
    """Moves each stage's stride from its first 3 x 3 to its first 1 x 1 convolution, and lets the pooling round up."""
    from torchvision.models import ResNet  # only for those who use it: every process would pay for its import

    net = encoder.net
    if not isinstance(net, ResNet) or not hasattr(net.layer1[0], "conv3"):
        msg = "caffe_layout: only torchvision's ResNet-50, 101 and 152 have such a layout; set it to false"
        raise InvalidInputError(msg)
    net.maxpool.ceil_mode = True
    for layer in (net.layer2, net.layer3, net.layer4):
        first, second = layer[0].conv1, layer[0].conv2
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        first.stride, second.stride = second.stride, first.stride
