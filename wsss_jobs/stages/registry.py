"""Stages by the name that recipes use.

A stage's module is imported when the stage is asked for, by those who plan too: it holds config and ports, and imports
torch and networks where a worker uses them. A training's samples and losses are in `<stage>_task.py` beside it.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from wsss_jobs.stages.base import StageSpec

_CLASSES = {
    "train_classifier": "TrainClassifier",
    "train_isim": "TrainIsim",
    "train_single_label_classifier": "TrainSingleLabelClassifier",
    "predict_classes": "PredictClasses",
    "train_groupwise": "TrainGroupwise",
    "train_acr": "TrainAcr",
    "train_reconstructor": "TrainReconstructor",
    "train_class_tokens": "TrainClassTokens",
    "infer_cams": "InferCams",
    "infer_cam_scores": "InferCamScores",
    "infer_groupwise_cams": "InferGroupwiseCams",
    "refine_cams": "RefineCams",
    "read_cams": "ReadCams",
    "make_affinity_labels": "MakeAffinityLabels",
    "train_affinity": "TrainAffinity",
    "random_walk": "RandomWalkStage",
    "make_affinity_scores": "MakeAffinityScores",
    "train_affinitynet": "TrainAffinityNet",
    "random_walk_psa": "RandomWalkPsa",
    "label_with_saliency": "LabelWithSaliency",
    "localise_boxes": "LocaliseBoxes",
    "label_partially": "LabelPartially",
    "propagate_gcn": "PropagateGcn",
    "refine_masks": "RefineMasks",
    "read_masks": "ReadMasks",
    "train_segmentation": "TrainSegmentation",
    "predict_masks": "PredictMasks",
}


class _Stages(Mapping[str, type[StageSpec]]):
    def __getitem__(self, name: str) -> type[StageSpec]:
        module = import_module(f"wsss_jobs.stages.{name}") if name in _CLASSES else None
        if module is None:
            raise KeyError(name)
        spec: type[StageSpec] = getattr(module, _CLASSES[name])
        return spec

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


STAGES: Mapping[str, type[StageSpec]] = _Stages()
