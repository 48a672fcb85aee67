"""How scores are propagated: walk, instances, graph; apart from the methods, which need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.errors import InvalidInputError


@dataclass(frozen=True)
class RandomWalkConfig:
    """The random walk's parameters.

    Attributes:
        radius: pairs with distance below this many cells are joined. 5: IRN and PSA.
        beta: exponent of the affinities; larger stops the walk at weaker boundaries. 10: IRN; PSA uses 8.
        log2_steps: the walk takes 2^log2_steps steps. 8: IRN and PSA.
        damp_boundary: scores start multiplied by 1 - b, so that cells on a boundary send nothing. True: IRN; of no
            effect where affinities are given (PSA has no boundary map).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read by pydantic where recipes are validated

    radius: int = 5
    beta: float = 10.0
    log2_steps: int = 8
    damp_boundary: bool = True

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.radius < 2:
            raise InvalidInputError(f"radius must be at least 2 cells, got {self.radius}")
        if self.beta <= 0:
            raise InvalidInputError(f"beta must be positive, got {self.beta}")
        if not 0 <= self.log2_steps <= 20:
            raise InvalidInputError(f"log2_steps must be in 0..20, got {self.log2_steps}")


PSA_RANDOM_WALK = RandomWalkConfig(beta=8.0, damp_boundary=False)
"""The walk of PSA's released code, for `random_walk_on_affinity`."""


@dataclass(frozen=True)
class InstanceConfig:
    """How instances are told apart and read out; the defaults are IRN's.

    Attributes:
        num_refinements: Moves of each cell's centroid along the displacement field. 300: released code.
        max_displacement: Cells with a displacement below this many cells are near a centroid. 2.5: released code.
            Larger joins neighbours, smaller parts instances.
        background_threshold: Background score after the walk, relative to the image's highest. 0.25: released code.
        min_area_fraction: Pieces below this share of the image have score 0. 0.01: released code.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read by pydantic where recipes are validated

    num_refinements: int = 300
    max_displacement: float = 2.5
    background_threshold: float = 0.25
    min_area_fraction: float = 0.01

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.num_refinements < 0:
            raise InvalidInputError(f"num_refinements must not be negative, got {self.num_refinements}")
        if self.max_displacement <= 0:
            raise InvalidInputError(f"max_displacement must be positive, got {self.max_displacement}")
        for name in ("background_threshold", "min_area_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name} must be in 0..1, got {getattr(self, name)}")


@dataclass(frozen=True)
class AffinityGraphConfig:
    """How the affinities of neighbouring cells become the matrix that the GCN multiplies by.

    With S the affinities of all pairs within `radius` (1 on the diagonal) raised to `beta`, T = S D^-1 the transition
    matrix of the random walk (D holds the column sums of S), the matrix is built in four steps:

    1. S, or T when `transition` is set; T^(2^log2_steps) for the graphs `truncated` and `walk`;
    2. `symmetrise`; 3. add `self_loop` times the identity; 4. `normalisation`.

    The defaults are the released code of WSGCN-I but for the graph itself: it trains on `walk`, a dense matrix that
    takes 552 MB an image, where `one_hop` is the affinity of the paper's text and 100 times smaller.

    Attributes:
        radius: pairs with distance below this many cells are joined. 5: IRN and PSA.
        beta: exponent of the affinities; larger cuts more edges. 10: IRN. PSA's walk uses 8.
        graph: `one_hop` joins cells within the radius; `walk` is the dense T^(2^log2_steps), for CUDA or small images;
            `truncated` keeps of `walk` each cell's `num_neighbours` strongest.
        transition: divide each column of S by its sum first. True: released code (at any number of steps); False with
            `symmetrise` none and `normalisation` none is the paper's equation 1 to the letter.
        log2_steps: squarings of T, for `truncated` and `walk`. 8 (256 steps): IRN and the released code.
        num_neighbours: entries of a row that `truncated` keeps (the union with those of its neighbours is not taken).
            Our choice.
        symmetrise: `max` is max(A, A^T) (released code), `mean` is (A + A^T) / 2, `none` leaves A as it is.
        self_loop: weight of the identity that is added, at least 0. 1: paper and released code.
        normalisation: `row` divides each row by its sum (released code), `symmetric` is D^-1/2 A D^-1/2 (the usual
            GCN; needs a symmetric matrix), `none` is the paper's text.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read by pydantic where recipes are validated

    radius: int = 5
    beta: float = 10.0
    graph: Literal["one_hop", "truncated", "walk"] = "one_hop"
    transition: bool = True
    log2_steps: int = 8
    num_neighbours: int = 64
    symmetrise: Literal["none", "max", "mean"] = "max"
    self_loop: float = 1.0
    normalisation: Literal["row", "symmetric", "none"] = "row"

    def __post_init__(self) -> None:
        """Check ranges and combinations."""
        rules = (
            (self.radius >= 2, f"radius must be at least 2 cells, got {self.radius}"),
            (self.beta > 0, f"beta must be positive, got {self.beta}"),
            (0 <= self.log2_steps <= 20, f"log2_steps must be in 0..20, got {self.log2_steps}"),
            (self.num_neighbours >= 1, f"num_neighbours must be at least 1, got {self.num_neighbours}"),
            (self.self_loop >= 0, f"self_loop must not be negative, got {self.self_loop}"),
            (
                self.graph == "one_hop" or self.transition,
                f"graph={self.graph!r} is a power of the transition matrix: set transition to true",
            ),
            (
                self.normalisation != "symmetric" or self.is_symmetric,
                "normalisation='symmetric' needs a symmetric matrix: symmetrise 'max' or 'mean', graph not 'truncated'",
            ),
        )
        for holds, message in rules:
            if not holds:
                raise InvalidInputError(message)

    @property
    def is_symmetric(self) -> bool:
        """Whether the matrix is symmetric before it is normalised."""
        if self.graph == "truncated":
            return False
        return self.symmetrise != "none" or not self.transition
