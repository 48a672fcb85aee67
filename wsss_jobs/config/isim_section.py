"""ISIM in a recipe: one section, expanded into the stages of Algorithm 1 (Bircanoglu and Arica, 2022).

    train_0 -> scores_1 -> masks_1 -> train_1 -> scores_2 -> masks_2 -> train_2 -> ...

Every one is an ordinary stage under its own fingerprint: docs/isim.md says why.
"""

from itertools import pairwise
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.crf.presets import PRESETS
from wsss_jobs.config.sections import StageSection
from wsss_jobs.stages.infer_cam_scores import InferCamScoresConfig
from wsss_jobs.stages.isim_samples import MASKS_PORT
from wsss_jobs.stages.refine_masks import RefineMasksConfig
from wsss_jobs.stages.train_isim import PREVIOUS_PORT, TrainIsimConfig
from wsss_jobs.training.convergence import ConvergenceRule

_OF_THE_DECODER = ("decoder_lr", "segmentation_weight")


class SectionConvergence(ConvergenceRule):
    """When a phase ends, where that is not fixed beforehand, and how many there are.

    Attributes:
        num_generations: How often pseudo labels are made; N of Algorithm 1.
    """

    num_generations: int = Field(default=5, ge=1)


class SectionResources(BaseModel):
    """What a worker of each kind of stage takes, as `resources` of a stage.

    Attributes:
        train: Of the trainings.
        cams: Of the CAMs between them.
        masks: Of the dense CRF.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: dict[str, Any] = Field(default_factory=dict)
    cams: dict[str, Any] = Field(default_factory=dict)
    masks: dict[str, Any] = Field(default_factory=dict)


class IsimSection(StageSection):
    """Settings; the defaults are the paper's schedule and, beside it, the released code's values.

    Attributes:
        training: Of every phase: see `TrainIsimConfig`. `generation`, `convergence` and `schedule.num_epochs` are set
            by the section.
        num_epochs: Of the whole training; at the most, with `convergence`.
        regenerate_after: Epochs behind which pseudo labels are made anew. Up to the first, tags alone are learnt. The
            paper: 5, 15, 25, 35, 45; the released code: 5 and then every multiple of its frequency. Empty: never, which
            is the paper's baseline "CAM".
        convergence: Instead of fixed epochs: every phase but the first trains until its loss stops falling.
            `regenerate_after` is then the end of the first phase alone. A phase leaves one epoch of `num_epochs` to
            each that follows: the training ends where one of fixed epochs does, or earlier, on one curve of the
            learning rate.
        cams: How CAMs become class scores.
        masks: How class scores become pseudo labels.
        keep_cams: Store the CAMs of each generation too, at stride 4, so that they are scored at their best threshold
            as well. Pseudo labels are then made of the stored ones.
        resources: Of the workers.
    """

    training: TrainIsimConfig = Field(default_factory=TrainIsimConfig)
    num_epochs: int = Field(default=50, ge=1)
    regenerate_after: tuple[int, ...] = Field(default=(5, 15, 25, 35, 45))
    convergence: SectionConvergence | None = None
    cams: InferCamScoresConfig = InferCamScoresConfig()
    masks: RefineMasksConfig = Field(
        default_factory=lambda: RefineMasksConfig(unary="label", crf=PRESETS["isim_pseudo_labels"].config)
    )
    keep_cams: bool = False
    resources: SectionResources = SectionResources()

    @field_validator("masks", mode="before")
    @classmethod
    def _isim_defaults(cls, given: Any) -> Any:
        return {"unary": "label", "crf": "isim_pseudo_labels", **given} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _epochs_ascend(self) -> Self:
        epochs = (0, *self.regenerate_after)
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise ValueError(f"regenerate_after must be ascending epochs from 1 up; got {list(self.regenerate_after)}")
        if self.convergence is not None and len(self.regenerate_after) != 1:
            raise ValueError(
                "with convergence, regenerate_after is one number, the epochs of the first phase, and "
                f"convergence.num_generations says how often; got {list(self.regenerate_after)}"
            )
        if self.convergence is not None and self.num_epochs < epochs[-1] + self.convergence.num_generations:
            raise ValueError(
                f"the first phase ends at {epochs[-1]}, and of the {self.num_epochs} of num_epochs there are not as "
                f"many left as generations ({self.convergence.num_generations}): leave some out, or train longer"
            )
        if self.convergence is None and self.num_epochs <= epochs[-1]:
            raise ValueError(
                f"regenerate_after ends at {epochs[-1]}, and no epoch of the {self.num_epochs} of "
                "num_epochs is left to learn those labels: leave the last one out, or train longer"
            )
        if {"generation", "convergence"} & self.training.model_fields_set:
            raise ValueError("training.generation and training.convergence are set by the section: leave them out")
        if "num_epochs" in self.training.schedule.model_fields_set:
            raise ValueError("training.schedule.num_epochs: set num_epochs of the section instead")
        return self

    @property
    def num_generations(self) -> int:
        """How often pseudo labels are made."""
        return len(self.regenerate_after) if self.convergence is None else self.convergence.num_generations

    @property
    def _ends(self) -> tuple[int, ...]:
        """Epoch behind which each phase ends; with `convergence`, at the latest."""
        if self.convergence is None:
            return (*self.regenerate_after, self.num_epochs)
        return (*self.regenerate_after, *range(self.num_epochs - self.num_generations + 1, self.num_epochs + 1))

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Returns the stages of all phases, in order."""
        entries = [self._training(name, 0)]
        for generation in range(1, self.num_generations + 1):
            entries += [*self._labelling(name, generation), self._training(name, generation)]
        return entries

    def _training(self, name: str, generation: int) -> dict[str, Any]:
        content = self.training.model_dump(mode="json")
        content["generation"] = generation
        content["schedule"]["num_epochs"] = self._ends[generation]
        if generation == 0:  # whatever the decoder: the same phase, done once for all of them
            content["network"] = {"classifier": content["network"]["classifier"], "decoder": "none"}
            content |= {key: TrainIsimConfig.model_fields[key].default for key in _OF_THE_DECODER}
        if self.convergence is not None and generation:
            content["convergence"] = self.convergence.model_dump(exclude={"num_generations"})
        previous = {PREVIOUS_PORT: f"{name}_train_{generation - 1}", MASKS_PORT: f"{name}_masks_{generation}"}
        return {
            **content,
            "stage": "train_isim",
            "name": f"{name}_train_{generation}",
            "inputs": previous if generation else {},
            "resources": self.resources.train,
        }

    def _labelling(self, name: str, generation: int) -> list[dict[str, Any]]:
        network, scores = f"{name}_train_{generation - 1}", f"{name}_scores_{generation}"
        masks = {
            **self.masks.model_dump(mode="json"),
            "stage": "refine_masks",
            "name": f"{name}_masks_{generation}",
            "inputs": {"scores": scores},
            "resources": self.resources.masks,
        }
        cams = {"inputs": {"classifier": network}, "resources": self.resources.cams}
        if not self.keep_cams:
            settings = self.cams.model_dump(mode="json")
            return [{**settings, "stage": "infer_cam_scores", "name": scores, **cams}, masks]
        stored = {
            "stage": "infer_cams",
            "name": f"{name}_cams_{generation}",
            "scales": list(self.cams.scales),
            "resampling": self.cams.resampling,
            "keep_high_res": False,
        }
        read = {
            "stage": "read_cams",
            "name": scores,
            "inputs": {"cams": stored["name"]},
            "background_threshold": self.cams.background_threshold,
        }
        return [stored | cams, read, masks]
