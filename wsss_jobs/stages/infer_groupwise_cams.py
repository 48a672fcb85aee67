"""CAMs of images in groups, self-ensembled (Zhou et al., IEEE TIP 2022): the same records as `infer_cams` writes.

The graph is there at inference too: an image is looked at together with partners that the same rule finds as in
training, drawn by its id alone, so its CAMs do not depend on who else is being worked on.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.groupwise.config import CamNormalisation, GroupCamOptions, Readout
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.records import ARTIFACT_FILE, Cams, ClassPrediction, GroupwiseCheckpoint
from wsss_jobs.stages.base import DatasetView, ItemInput, ItemStage, Ok, StageConfig, StageContext, StageResources
from wsss_jobs.training.group_sampling import GroupSampler, SamplingName

if TYPE_CHECKING:
    from models.groupwise.group_cams import Views

_CACHE_BYTES = 256 << 20  # of nodes; VGG-16 at 224 px has 1.6 MB an image and view


class InferGroupwiseCamsConfig(StageConfig):
    """Settings; the defaults are the paper's, where it gives a value.

    Attributes:
        group_size: Images a group, the item among them; None: as in training.
        sampling: Whose images make a group; see `GroupSampler`.
        num_groups: Groups of an item whose maps are averaged.
        labels: `tags`: images share tags, and CAMs are of tags. `predicted`: images of one split share their predicted
            class (WSOL), and CAMs are of that and of the tags (with the truth as tags, those score GT-known Loc).
        readout: `ensemble` averages the maps before and behind the graph; `graph` and `intermediate` take one.
        normalisation: `max`: each class is divided by its maximum, as in `infer_cams`; `min_max`: for boxes.
        input_px: Images are resized to squares of this side.
        scales: Factors of `input_px`, whose maps are added up.
        flip: See each image mirrored too.
        keep_high_res: Store full-resolution CAMs too; see `infer_cams`.
    """

    group_size: int | None = Field(default=None, ge=1)
    sampling: SamplingName = "greedy"
    num_groups: int = Field(default=1, ge=1)
    labels: Literal["tags", "predicted"] = "tags"
    readout: Readout = "ensemble"
    normalisation: CamNormalisation = "max"
    input_px: int = Field(default=224, ge=32)
    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    flip: bool = False
    keep_high_res: bool = True


class InferGroupwiseCams(ItemStage):
    """`GroupwiseCheckpoint` and images in, `Cams` out."""

    NAME: ClassVar[str] = "infer_groupwise_cams"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = InferGroupwiseCamsConfig
    READS: ClassVar[Mapping[str, type]] = {"network": GroupwiseCheckpoint, "predictions": ClassPrediction}
    WRITES: ClassVar[type] = Cams
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)
    NEEDS_DATASET: ClassVar[bool] = True

    @classmethod
    def reads(cls, config: InferGroupwiseCamsConfig) -> Mapping[str, type]:
        """Returns the network's port, and that of predictions where they make the groups."""
        return {port: kind for port, kind in cls.READS.items() if port != "predictions" or config.labels == "predicted"}

    def __init__(self, config: InferGroupwiseCamsConfig, context: StageContext) -> None:
        from models.groupwise.group_cams import GroupCamReader  # needs torch, and planning does without
        from wsss_jobs import networks

        assert context.dataset is not None
        self._config = config
        self._seed = context.seed
        self._dataset = context.dataset
        model = networks.load_groupwise(context.artifacts["network"] / ARTIFACT_FILE)
        options = {name: getattr(config, name) for name in ("input_px", "scales", "flip", "readout", "normalisation")}
        self._reader = GroupCamReader(model.to(context.device), GroupCamOptions(**options))
        size = config.group_size or model.config.group_size
        self._index = {item_id: index for index, item_id in enumerate(_ids(context.dataset.items))}
        labels = _labels(context.dataset, config.labels)
        self._sampler = GroupSampler(list(self._index), labels, size, config.sampling, context.seed)
        self._nodes = _NodeCache()

    def _one(self, entry: ItemInput) -> Ok:
        import torch  # needed on workers only, like the networks

        class_ids = self._class_ids(entry)
        if not class_ids:
            message = "has no tags, and CAMs are of tags; leave images without objects out of the data set"
            raise DataError(entry.item.source_key, "unlabelled", message)
        groups, num_partners = self._groups(entry)
        with torch.random.fork_rng(devices=[]):  # for networks that drop in evaluation too
            torch.manual_seed(int(hashlib.sha256(f"{self._seed}/{entry.item.item_id}".encode()).hexdigest()[:15], 16))
            result = self._reader.read(groups, entry.image.shape[:2], class_ids)
        cam_Khw = result.cam_Khw.numpy()
        high_res_KHW = result.high_res_KHW.numpy().astype(np.float16) if self._config.keep_high_res else None
        record = Cams(class_ids, cam_Khw.astype(np.float16), high_res_KHW)
        return Ok(record, {"mean_cam": float(cam_Khw.mean()), "num_partners": num_partners})

    def _class_ids(self, entry: ItemInput) -> tuple[int, ...]:
        if self._config.labels == "tags":
            return entry.item.labels
        prediction: ClassPrediction = entry.records["predictions"]
        return tuple(sorted({*entry.item.labels, prediction.top_class}))

    def _groups(self, entry: ItemInput) -> tuple[list[list[Views]], float]:
        """Returns the nodes of the item's groups, and how many partners it has in a group on average."""
        index = self._index[entry.item.item_id]
        own = self._nodes.get(index, lambda: self._reader.encode(entry.image))
        assert own is not None
        groups = []
        for number in range(self._config.num_groups):
            members = self._sampler.group(index, number)[1:]
            partners = [self._nodes.get(member, lambda member=member: self._encoded(member)) for member in members]  # type: ignore[misc]
            groups.append([own, *(views for views in partners if views is not None)])
        return groups, sum(map(len, groups)) / len(groups) - 1

    def _encoded(self, index: int) -> Views | None:
        """Returns the nodes of an image, or None where it cannot be decoded: then its groups are smaller."""
        try:
            return self._reader.encode(self._dataset.reader.image(self._dataset.items[index]))
        except DataError:
            return None


class _NodeCache:
    """The nodes of the images that were looked at last; they are the same whoever asks for them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Views] = OrderedDict()
        self._num_bytes = 0

    def get(self, index: int, make: Callable[[], Views | None]) -> Views | None:
        """Returns the nodes of an image, made now or before."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        views = make()
        if views is not None:
            self._kept[index] = views
            self._num_bytes += _num_bytes(views)
            while self._num_bytes > _CACHE_BYTES:
                self._num_bytes -= _num_bytes(self._kept.popitem(last=False)[1])
        return views


def _num_bytes(views: Views) -> int:
    return sum(view.nbytes for view in views)


def _ids(items: Sequence[DatasetItem]) -> list[str]:
    return [item.item_id for item in items]


def _labels(dataset: DatasetView, kind: str) -> list[tuple[int, ...]]:
    """Returns what images of a group share, as one list of numbers an image."""
    if kind == "tags":
        return [item.labels for item in dataset.items]
    splits = {split: number for number, split in enumerate(sorted({item.split for item in dataset.items}))}
    labels: list[tuple[int, ...]] = []
    for item in dataset.items:
        try:
            predicted = dataset.reader.record("predictions", item).top_class
        except DataError:  # nothing is known of it, and it is nobody's partner
            labels.append(())
        else:
            labels.append((predicted * len(splits) + splits[item.split],))
    return labels
