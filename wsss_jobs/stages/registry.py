"""Stages by the name that recipes use.

A stage's module is imported when the stage is asked for: a worker process that runs one stage should not spend seconds
on the libraries of all others.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from wsss_jobs.stages.base import StageSpec

_CLASSES = {
    "train_classifier": "TrainClassifier",
    "train_acr": "TrainAcr",
    "train_reconstructor": "TrainReconstructor",
    "train_class_tokens": "TrainClassTokens",
    "infer_cams": "InferCams",
    "refine_cams": "RefineCams",
    "read_cams": "ReadCams",
    "make_affinity_labels": "MakeAffinityLabels",
    "train_affinity": "TrainAffinity",
    "random_walk": "RandomWalkStage",
    "make_affinity_scores": "MakeAffinityScores",
    "train_affinitynet": "TrainAffinityNet",
    "random_walk_psa": "RandomWalkPsa",
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
