"""What stages hand to each other: one small frozen record an item, and artifacts that serve all items.

Shapes: see docs/architecture.md section 2. Class ids are those of masks; 0 is background.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from models.propagation.instances import InstanceMasks
from wsss_jobs.errors import StageError

Tensors = Mapping[str, np.ndarray]
Storage = Literal["tensors", "mask", "streamed"]
ScoreDomain = Literal["log_probability", "probability", "activation"]

ARTIFACT_FILE = "model.pt"
"""The file of an artifact's network."""

INSTANCE_MASKS = "instances"
"""The variant of instance masks, where a recipe asks for them."""


@dataclass(frozen=True)
class Cams:
    """Class activation maps of the tagged classes, each in [0, 1]; stored as Parquet.

    Attributes:
        class_ids: `[K]`, ascending, from 1.
        cam_Khw: Stride 4, float16.
        high_res_KHW: Full resolution, float16, or None where the recipe does not keep it.
    """

    storage: ClassVar[Storage] = "tensors"

    class_ids: tuple[int, ...]
    cam_Khw: np.ndarray
    high_res_KHW: np.ndarray | None = None

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the named arrays that are stored."""
        tensors = {"class_ids": np.array(self.class_ids, dtype=np.int32), "cam": self.cam_Khw}
        if self.high_res_KHW is not None:
            tensors["high_res"] = self.high_res_KHW
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Returns the record that `to_tensors` stored."""
        return cls(tuple(int(c) for c in tensors["class_ids"]), tensors["cam"], tensors.get("high_res"))


@dataclass(frozen=True)
class AffinityScores:
    """Class scores that AffinityNet's labels are made of, at full resolution; stored as Parquet.

    Attributes:
        class_ids: `[K]`, ascending, from 1; the background comes before them.
        scores_2CHW: `[2, K + 1, H, W]` float16 in [0, 1]: CRF probabilities for the low and the high alpha.
    """

    storage: ClassVar[Storage] = "tensors"

    class_ids: tuple[int, ...]
    scores_2CHW: np.ndarray

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the named arrays that are stored."""
        return {"class_ids": np.array(self.class_ids, dtype=np.int32), "scores": self.scores_2CHW}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Returns the record that `to_tensors` stored."""
        return cls(tuple(int(c) for c in tensors["class_ids"]), tensors["scores"])


@dataclass(frozen=True)
class ClassPrediction:
    """What a classifier takes an image for, the likeliest class first; stored as Parquet.

    Attributes:
        class_ids: `[n]`, from 1.
        probabilities: `[n]` float32, descending.
    """

    storage: ClassVar[Storage] = "tensors"

    class_ids: tuple[int, ...]
    probabilities: np.ndarray

    @property
    def top_class(self) -> int:
        """The likeliest class."""
        return self.class_ids[0]

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the named arrays that are stored."""
        return {"class_ids": np.array(self.class_ids, dtype=np.int32), "probabilities": self.probabilities}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Returns the record that `to_tensors` stored."""
        return cls(tuple(int(c) for c in tensors["class_ids"]), tensors["probabilities"])


@dataclass(frozen=True)
class LabelMap:
    """A label image, stored as a palette PNG: class ids, 255 ignore."""

    storage: ClassVar[Storage] = "mask"
    variants: ClassVar[tuple[str, ...]] = ("masks",)

    label_HW: np.ndarray

    def to_masks(self) -> dict[str, np.ndarray]:
        """Returns the label images to store, by variant, in the order in which they are committed."""
        return {"masks": self.label_HW}


@dataclass(frozen=True)
class AffinityLabel(LabelMap):
    """Full-resolution label that an affinity network learns from."""


@dataclass(frozen=True)
class PartialLabel(LabelMap):
    """Label at the grid's resolution from which propagation starts; most cells are 255."""


@dataclass(frozen=True)
class Mask(LabelMap):
    """The pseudo label: full resolution, every pixel labelled.

    Attributes:
        before_crf_HW: The same read-out without the CRF, or None when no CRF ran.
        instances: What came along with the scores that it was made of; stored beside it as variant `instances`.
    """

    variants: ClassVar[tuple[str, ...]] = ("masks_before_crf", "masks")

    before_crf_HW: np.ndarray
    instances: InstanceMasks | None = None

    def to_masks(self) -> dict[str, np.ndarray]:
        """Returns all label images; the final one last, because it is the commit record."""
        extra = {} if self.instances is None else {INSTANCE_MASKS: self.instances.id_HW}
        return extra | {"masks_before_crf": self.before_crf_HW, "masks": self.label_HW}


@dataclass(frozen=True)
class ClassScores:
    """Scores of the background and the tagged classes on a grid; streamed from actor to actor, never stored.

    Attributes:
        class_ids: `[K + 1]`, ascending, 0 first.
        scores_Chw: `[K + 1, h, w]` float32.
        domain: What the scores are, and so what may be interpolated.
        corner_aligned: Whether the outermost cells lie on the outermost pixels (`align_corners=True`).
        instances: Instance masks that were read out on the way, at full resolution; whoever stores masks of these
            scores stores them too.
    """

    storage: ClassVar[Storage] = "streamed"

    class_ids: tuple[int, ...]
    scores_Chw: np.ndarray
    domain: ScoreDomain
    corner_aligned: bool
    instances: InstanceMasks | None = None


@dataclass(frozen=True)
class ClassifierCheckpoint:
    """A trained classifier: `model.pt` with its config and state dict."""


@dataclass(frozen=True)
class IsimCheckpoint(ClassifierCheckpoint):
    """A network of ISIM with the state of its optimiser; to all others, the classifier in it."""


@dataclass(frozen=True)
class GroupwiseCheckpoint(ClassifierCheckpoint):
    """A trained group-wise classifier. Whoever wants a classifier's encoder can have that of this one."""


@dataclass(frozen=True)
class TransformerCheckpoint(ClassifierCheckpoint):
    """A trained class-token transformer: a classifier that also says which patches belong together."""


@dataclass(frozen=True)
class ReconstructorCheckpoint:
    """A trained reconstructor (ACR): `model.pt` with its config and state dict."""


@dataclass(frozen=True)
class AffinityCheckpoint:
    """A trained affinity network of either kind: `model.pt` with its config and state dict."""


@dataclass(frozen=True)
class IRNetCheckpoint(AffinityCheckpoint):
    """A trained IRNet: class boundaries at stride 4."""


@dataclass(frozen=True)
class AffinityNetCheckpoint(AffinityCheckpoint):
    """A trained AffinityNet (PSA): affinity features at stride 8."""


@dataclass(frozen=True)
class SegmentationCheckpoint:
    """A trained segmentation network: `model.pt` with its config and state dict."""


TensorRecord = Cams | AffinityScores | ClassPrediction
Record = TensorRecord | LabelMap | ClassScores
ARTIFACTS: tuple[type, ...] = (
    ClassifierCheckpoint,
    IsimCheckpoint,
    GroupwiseCheckpoint,
    TransformerCheckpoint,
    ReconstructorCheckpoint,
    IRNetCheckpoint,
    AffinityNetCheckpoint,
    SegmentationCheckpoint,
)


def label_map(record_type: type[LabelMap], masks: Mapping[str, np.ndarray]) -> LabelMap:
    """Returns the record of `record_type` that its `to_masks` gave."""
    if issubclass(record_type, Mask):
        return record_type(masks["masks"], masks["masks_before_crf"])
    if set(masks) != {"masks"}:
        raise StageError(f"{record_type.__name__} is stored as one label image; got {sorted(masks)}")
    return record_type(masks["masks"])
