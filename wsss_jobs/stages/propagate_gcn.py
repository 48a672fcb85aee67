"""The main job: one small GCN per image spreads its partial label over all nodes (WSGCN, Pan et al., ICASSP 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.errors import InvalidInputError
from models.images import resize, strided_size
from models.pooled_grid import reduced_image
from models.propagation.gcn.config import GCNConfig
from wsss_jobs.records import ARTIFACT_FILE, AffinityCheckpoint, ClassScores, PartialLabel
from wsss_jobs.stages.base import (
    Device,
    Failed,
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
    StageResources,
    guarded,
)

if TYPE_CHECKING:
    import torch

    from models.propagation.grid_graph import GridGraph


class PropagateGcnConfig(StageConfig):
    """Settings.

    Attributes:
        gcn: Network, losses, graph and solver; its `seed` is replaced by the run's.
        node_features: Of IRNet (WSGCN-I). `released`: the input of the boundary branch's last convolution times that
            convolution's weights; `paper`: the input itself. AffinityNet (WSGCN-P) has one form.
        restrict_to_tags: Keep the background and the tagged classes only. The GCN learns all classes in any case.
    """

    gcn: GCNConfig = Field(default_factory=GCNConfig)
    node_features: Literal["paper", "released"] = "released"
    restrict_to_tags: bool = True


class PropagateGcn(ItemStage):
    """`PartialLabel`, images and `AffinityCheckpoint` in, `ClassScores` (log-probabilities) out.

    IRNet's grid has stride 4 (WSGCN-I), AffinityNet's stride 8 (WSGCN-P); the partial label must be on the same.
    """

    NAME: ClassVar[str] = "propagate_gcn"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = PropagateGcnConfig
    READS: ClassVar[Mapping[str, type]] = {"partial": PartialLabel, "affinity": AffinityCheckpoint}
    WRITES: ClassVar[type] = ClassScores
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=1)
    BATCH_SIZES: ClassVar[Mapping[Device, int]] = {"cpu": 8, "cuda": 64}  # the solver parts what memory does not hold

    def __init__(self, config: PropagateGcnConfig, context: StageContext) -> None:
        from models.propagation.graph_features import graph_stride
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        self._context = context
        self._gcn = replace(config.gcn, seed=context.seed)
        self._model, self._encoder = networks.load_affinity(context.artifacts["affinity"] / ARTIFACT_FILE)
        self._model.to(context.device)
        self._stride = graph_stride(self._model)

    def process(self, batch: Sequence[ItemInput]) -> list[Ok | Failed]:
        """Returns log-probabilities; the whole batch is solved together."""
        graphs = [guarded(partial(self._graph, entry)) for entry in batch]
        good = [graph for graph in graphs if not isinstance(graph, Failed)]
        solved = iter(self._solve(good))
        results = [graph if isinstance(graph, Failed) else next(solved) for graph in graphs]
        return [
            result if isinstance(result, Failed) else self._scores(entry, result)
            for entry, result in zip(batch, results, strict=True)
        ]

    def _solve(self, graphs: Sequence[GridGraph]) -> Sequence[torch.Tensor | Failed]:
        """Solves all together; where that fails, one by one, so that only those fail that must (same results)."""
        try:
            return self._solve_together(graphs)
        except InvalidInputError:
            return [guarded(lambda graph=graph: self._solve_together([graph])[0]) for graph in graphs]  # type: ignore[misc]

    def _solve_together(self, graphs: Sequence[GridGraph]) -> list[torch.Tensor]:
        from models.propagation.gcn.solve import solve_batch

        return solve_batch(graphs, self._gcn, device=self._context.device, num_threads=self._context.num_threads)

    def _graph(self, entry: ItemInput) -> GridGraph:
        import torch

        from models.propagation.graph_features import graph_features
        from models.propagation.grid_graph import GridGraph

        partial: PartialLabel = entry.records["partial"]
        self._check_grid(partial.label_HW.shape, entry.image.shape[:2])
        radius = self._gcn.graph.radius
        found = graph_features(self._model, entry.image, self._encoder, self._config.node_features, radius)
        return GridGraph(
            item_id=entry.item.item_id,
            features_Dhw=found.features_Dhw,
            boundary_hw=found.boundary_hw,
            affinity_Phw=found.affinity_Phw,
            image_hw3=torch.from_numpy(np.array(self._reduced(entry.image))),
            label_hw=torch.from_numpy(np.array(partial.label_HW)),
            num_classes=self._context.num_classes,
        )

    def _check_grid(self, label_hw: Sequence[int], image_hw: Sequence[int]) -> None:
        wanted = strided_size(image_hw, self._stride)
        if tuple(label_hw) != wanted:
            msg = (
                f"the partial label has {label_hw[0]} x {label_hw[1]} cells and the affinity network's grid "
                f"{wanted[0]} x {wanted[1]}: set `stride: {self._stride}` in label_partially"
            )
            raise InvalidInputError(msg)

    def _reduced(self, image_HW3: np.ndarray) -> np.ndarray:
        """Returns the image on the grid: stretched to it (released WSGCN-I), or cell by cell (AffinityNet's)."""
        if self._is_corner_aligned:
            return resize(image_HW3, strided_size(image_HW3.shape[:2], self._stride), "lanczos")
        return reduced_image(image_HW3, self._stride)

    @property
    def _is_corner_aligned(self) -> bool:
        """Whether scores are stretched from corner to corner; AffinityNet's are enlarged by 8 and cropped, as PSA's."""
        return self._stride == 4

    def _scores(self, entry: ItemInput, prob_hwC: torch.Tensor) -> Ok:
        import torch

        class_ids = (0, *entry.item.labels) if self._config.restrict_to_tags else tuple(range(prob_hwC.shape[2]))
        log_prob_Chw = torch.log(prob_hwC[..., list(class_ids)].clamp_min(1e-30)).permute(2, 0, 1)
        scores_Chw = log_prob_Chw.contiguous().cpu().numpy()
        record = ClassScores(class_ids, scores_Chw, "log_probability", corner_aligned=self._is_corner_aligned)
        return Ok(record, {"mean_confidence": float(prob_hwC.amax(dim=2).mean())})
