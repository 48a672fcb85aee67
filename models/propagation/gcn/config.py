"""What the per-image GCN is, and how it is trained (WSGCN: Pan et al. 2021, sections 3.2, 3.3 and 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

from models.errors import InvalidInputError
from models.propagation.config import AffinityGraphConfig

BackendName = Literal["auto", "reference", "torch", "native", "triton"]
FloatType = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class LossForm:
    """The points in which the paper's text and its released code disagree about the loss.

    Attributes:
        laplacian_on: what neighbouring cells should agree on: class probabilities or their logarithms.
        entropy_normaliser: the entropy is summed over classes and averaged over unlabelled cells (`nodes`), or averaged
            over classes too (`nodes_times_classes`), which makes it C times weaker.
        color_denominator: squared colour differences are divided by this in Phi's exponent (2 sigma_1^2).
        space_denominator: squared distances, in cells, are divided by this in Phi's exponent (2 sigma_2^2).
    """

    laplacian_on: Literal["prob", "log_prob"]
    entropy_normaliser: Literal["nodes", "nodes_times_classes"]
    color_denominator: float
    space_denominator: float


LOSS_FORMS = {
    "paper": LossForm("prob", "nodes", color_denominator=6.0, space_denominator=200.0),
    "released": LossForm("log_prob", "nodes_times_classes", color_denominator=12.0, space_denominator=20.0),
}


@dataclass(frozen=True)
class GCNConfig:
    """The two-layer GCN of one image, its loss and its training.

    Attributes:
        num_steps: gradient steps. 250: paper.
        hidden_channels: units of the first layer. 16: paper and released code.
        dropout: probability that a hidden unit is dropped, after the ReLU and nowhere else. 0.3: paper.
        learning_rate: of Adam. 0.01: paper.
        weight_decay: L2 penalty on all weights and biases, added to the gradient (not decoupled). 5e-4: paper.
        foreground_weight: weight of the mean cross-entropy over foreground labels. 1: paper; 0 switches it off.
        background_weight: the same for background labels.
        entropy_weight: weight of the entropy of unlabelled cells (beta_1). 10: paper.
        laplacian_weight: weight of the Laplacian loss (beta_2). 0.01: paper.
        loss_form: `released` is what produced the published numbers, `paper` is the text; each of the next four
            values, where it is not None, replaces the form's own.
        laplacian_on: see `LossForm`.
        entropy_normaliser: see `LossForm`.
        color_denominator: see `LossForm`.
        space_denominator: see `LossForm`.
        color_scale: the colour range in Phi is 0..color_scale. 1: released code (the paper does not say); 255 makes
            Phi cut at faint edges.
        laplacian_affinity: `color` is Phi; `affinity` puts the sharpened affinities of the graph in its place (the
            ablation of the paper's section 4.2, 1.7 points worse there).
        laplacian_radius: Phi joins cells up to this far along each axis. 2 (a 5x5 window): paper.
        bias: add a bias in both layers. True: released code; the paper's equation 1 has none.
        init: `uniform_out` draws weights and biases from U(-1/sqrt(out), 1/sqrt(out)) (released code); `glorot` is
            PyG's own: Glorot-uniform weights, zero biases.
        tolerance: None runs `num_steps`, always. A value stops an image once the mean loss of its last 10 steps is
            within this fraction of that of the 10 before; the result then is not that of the full number of steps.
        seed: of the initial weights and of dropout, together with the item id.
        feature_dtype: type to which the propagated features A X are rounded; they are still computed with in
            `compute_dtype`. docs/gcn_solver.md has the measured label change.
        affinity_dtype: type to which the planes of a `one_hop` graph are rounded before normalisation.
        compute_dtype: type of all arithmetic; float64 for `reference` and `torch` only.
        backend: `auto` takes `native` on a CPU where it was built and can serve this config, else `torch`; on CUDA
            `triton` where it works and can serve this config, else `torch`.
        graph: the matrix A.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read by pydantic where recipes are validated

    num_steps: int = 250
    hidden_channels: int = 16
    dropout: float = 0.3
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    foreground_weight: float = 1.0
    background_weight: float = 1.0
    entropy_weight: float = 10.0
    laplacian_weight: float = 0.01
    loss_form: Literal["paper", "released"] = "released"
    laplacian_on: Literal["prob", "log_prob"] | None = None
    entropy_normaliser: Literal["nodes", "nodes_times_classes"] | None = None
    color_denominator: float | None = None
    space_denominator: float | None = None
    color_scale: float = 1.0
    laplacian_affinity: Literal["color", "affinity"] = "color"
    laplacian_radius: int = 2
    bias: bool = True
    init: Literal["uniform_out", "glorot"] = "uniform_out"
    tolerance: float | None = None
    seed: int = 0
    feature_dtype: FloatType = "float32"
    affinity_dtype: Literal["float32", "bfloat16"] = "float32"
    compute_dtype: Literal["float32", "float64"] = "float32"
    backend: BackendName = "auto"
    graph: AffinityGraphConfig = field(default_factory=AffinityGraphConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.backend not in get_args(BackendName):
            names = ", ".join(get_args(BackendName))
            raise InvalidInputError(f"there is no backend {self.backend!r}: the backends are {names}")
        rules = (
            (self.num_steps >= 0, f"num_steps must not be negative, got {self.num_steps}"),
            (self.hidden_channels >= 1, f"hidden_channels must be at least 1, got {self.hidden_channels}"),
            (0 <= self.dropout <= 0.99, f"dropout must be in 0..0.99, got {self.dropout}"),
            (self.learning_rate > 0, f"learning_rate must be positive, got {self.learning_rate}"),
            (self.laplacian_radius >= 1, f"laplacian_radius must be at least 1 cell, got {self.laplacian_radius}"),
            (self.tolerance is None or self.tolerance > 0, f"tolerance must be positive or None, got {self.tolerance}"),
            (
                self.compute_dtype == "float32" or self.backend in ("reference", "torch"),
                "compute_dtype='float64' needs backend 'reference' or 'torch'",
            ),
            (
                self.affinity_dtype == "float32" or self.graph.graph == "one_hop",
                f"affinity_dtype='bfloat16' is for the graph 'one_hop', got {self.graph.graph!r}",
            ),
        )
        for holds, message in rules:
            if not holds:
                raise InvalidInputError(message)
        for name in ("weight_decay", "foreground_weight", "background_weight", "entropy_weight", "laplacian_weight"):
            if getattr(self, name) < 0:
                raise InvalidInputError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("color_denominator", "space_denominator", "color_scale"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidInputError(f"{name} must be positive, got {value}")

    @property
    def loss(self) -> LossForm:
        """The loss form with the values that this config sets by itself."""
        form = LOSS_FORMS[self.loss_form]
        names = ("laplacian_on", "entropy_normaliser", "color_denominator", "space_denominator")
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(form, **own)
