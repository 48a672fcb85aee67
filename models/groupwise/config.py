"""Which group-wise network: encoder, graph, read-outs, the weights of its losses, and how its maps are taken."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.backbones.config import EncoderConfig
from models.errors import InvalidInputError

CoAttentionForm = Literal["symmetric", "transposed", "directed"]
Similarity = Literal["product", "cosine"]
NodeState = Literal["features", "class_maps"]
Readout = Literal["ensemble", "graph", "intermediate"]
CamNormalisation = Literal["max", "min_max"]


def _reject(message: str) -> None:
    raise InvalidInputError(message)


@dataclass(frozen=True)
class GraphDropoutConfig:
    """The graph dropout layer (Eqs. 11 and 12); `models.groupwise.graph_dropout` has the paper's and the released rule.

    Attributes:
        drop_probability: How often a node's strongest region is dropped. Paper: 1 - delta_r = 0.2. Released code: 0.8.
        region_threshold: delta_d: cells with a mean activation of at least this share of the node's highest are
            dropped. Both: 0.7.
        weighted: What is not dropped is weighted with the mean activation itself (Eq. 11 as printed), not with 1.
            That changes the scale of the features, and their sign where the mean is negative.
        residual: Average the masked features with the unmasked ones (released code).
        in_evaluation: `keep`: every node is weighted with its importance map, as most nodes are in training; `off`:
            nothing is changed; `random`: as in training (released code).
        before_readout: Also behind the last step. Released code: True. In the paper the result feeds the next step.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    drop_probability: float = 0.2
    region_threshold: float = 0.7
    weighted: bool = False
    residual: bool = True
    in_evaluation: Literal["keep", "off", "random"] = "keep"
    before_readout: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.drop_probability <= 1.0:
            _reject(f"drop_probability must be in [0, 1]; got {self.drop_probability}")
        if not 0.0 <= self.region_threshold <= 1.0:
            _reject(f"region_threshold must be in [0, 1]; got {self.region_threshold}")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three supervisions (Eq. 13). A part of the network that has weight 0 is not built.

    Attributes:
        graph: lambda_1, tags from the nodes behind the graph. Paper: 0.7.
        intermediate: lambda_2, tags from the nodes before it. Paper: 0.1.
        edge: lambda_3, common tags of two images from their edge. Paper: 0.2. Released code: no such part.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    graph: float = 0.7
    intermediate: float = 0.1
    edge: float = 0.2

    def __post_init__(self) -> None:
        if min(self.graph, self.intermediate, self.edge) < 0:
            _reject(f"loss weights must be at least 0; got {self.graph}, {self.intermediate}, {self.edge}")
        if self.graph == 0 and self.intermediate == 0:
            _reject("one of the loss weights graph and intermediate must be positive: the CAMs come from there")


@dataclass(frozen=True)
class GroupwiseConfig:
    """The network. Defaults are the paper's.

    Attributes:
        encoder: The image encoder. Paper: VGG-16, dilated (`vgg16`, output stride 8, `dilate`); also ResNet-38.
        layers: Layers or taps of the encoder, by name, that make the nodes; they must have one stride, and their
            projections are added up. None named: the last tap. `vgg16_largefov` needs `[conv5]`: the paper's VGG-16
            ends there. What comes behind the last of them is neither run nor trained.
        frozen_stages: The gradient stops behind this many encoder stages. Paper: 0.
        train_batch_norm: Let the encoder's BatchNorm follow the batches.
        train_batch_norm_affine: Let its scales and shifts learn.
        node_channels: Channels of a node. A 1x1 convolution with ReLU brings other encoders than VGG-16 there.
        node_state: `features` (paper), or `class_maps` (released code): three 3x3 convolutions and a class map make the
            node, and maps are read from nodes as they are. `node_channels` is then the width of those convolutions.
        group_size: K, images a group. 1: no messages from other images.
        num_steps: T, message-passing steps. 0: no graph; both read-outs see the encoder's features.
        reduction: d: the low-rank projections P and Q have 1 / d of the channels. Paper: 4. Released code: 2.
        co_attention: How an edge follows its direction. The paper wants e_ji = e_ij^T and Eq. 5 for every e_ij; both
            hold for the symmetric part of W = P Q^T alone: `symmetric`. `transposed` takes Eq. 5 for i < j and
            transposes for i > j, so that it matters which image comes first. `directed` takes Eq. 5 for every direction
            (released code).
        similarity: How alike two positions are, in co-attention and self-edge: `product` of their projections (Eqs. 4
            and 6), or the `cosine` of what is left of these without their mean over the image, times 10. The product
            has no scale: where features are large, nearly all positions hear one and the same (docs/groupwise.md).
        average_messages: Take the mean of the messages from other images, not their sum (Eq. 8), so that what reaches
            the ConvGRU does not grow with K.
        self_edge: A message from the node to itself by self-attention (Eq. 6). Released code: False.
        message_gate: Multiply each message with a sigmoid of a 1x1 convolution of it (released code). Paper: False.
        gru_kernel: Side of the ConvGRU's convolutions. Released code: 1; the paper does not say.
        dropout: Graph dropout; null leaves it out.
        loss: Weights of the supervisions.
        scale_edge_attention: Divide the logits of the edge's dual attention by the square root of the summed length.
            Eqs. 14 and 16 do not, and then nearly all of a softmax falls on one position.
        init: `small`: weights of new layers from N(0, 0.01) (released code); `pytorch`: the library's default.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig("vgg16", output_stride=8, dilate=True))
    layers: tuple[str, ...] = ()
    frozen_stages: int = 0
    train_batch_norm: bool = False
    train_batch_norm_affine: bool = True
    node_channels: int = 512
    node_state: NodeState = "features"
    group_size: int = 4
    num_steps: int = 3
    reduction: int = 4
    co_attention: CoAttentionForm = "symmetric"
    similarity: Similarity = "product"
    average_messages: bool = False
    self_edge: bool = True
    message_gate: bool = False
    gru_kernel: int = 1
    dropout: GraphDropoutConfig | None = field(default_factory=GraphDropoutConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    scale_edge_attention: bool = True
    init: Literal["small", "pytorch"] = "small"

    def __post_init__(self) -> None:
        for name, lowest in (("group_size", 1), ("num_steps", 0), ("reduction", 1), ("node_channels", 8)):
            if getattr(self, name) < lowest:
                _reject(f"{name} must be at least {lowest}; got {getattr(self, name)}")
        if not 0 <= self.frozen_stages <= 5:
            _reject(f"frozen_stages must be 0 to 5; got {self.frozen_stages}")
        if self.gru_kernel % 2 == 0 or self.gru_kernel < 1:
            _reject(f"gru_kernel must be odd; got {self.gru_kernel}")

    @property
    def has_messages(self) -> bool:
        """Whether nodes hear of other images."""
        return self.group_size > 1 and self.num_steps > 0

    @property
    def has_edge_supervision(self) -> bool:
        """Whether edges are supervised."""
        return self.group_size > 1 and self.loss.edge > 0


@dataclass(frozen=True)
class GroupCamOptions:
    """How maps are read.

    Attributes:
        input_px: Images are resized to squares of this side, whatever their aspect (or the next side that the encoder
            takes), as in training.
        scales: Factors of `input_px`; maps of several scales are added up.
        flip: See each image mirrored too, in a group of mirror images.
        readout: `ensemble` averages the maps before and behind the graph; `graph` and `intermediate` take one.
        normalisation: `max`: negative values become 0, and each class is divided by its maximum. `min_max`: the lowest
            value becomes 0 and the highest 1.
    """

    input_px: int = 224
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    readout: Readout = "ensemble"
    normalisation: CamNormalisation = "max"
