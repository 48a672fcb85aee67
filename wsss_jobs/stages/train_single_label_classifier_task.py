"""The training behind `train_single_label_classifier`: the samples of `train_classifier` with another loss."""

import torch
from torch import nn
from torch.nn import functional as F

from wsss_jobs.stages.train_classifier_task import ClassifierTask
from wsss_jobs.training.task import Sample


class OneClassTask(ClassifierTask):
    """Cross-entropy over the classes, for each head of the classifier."""

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns the mean cross-entropy over images and heads."""
        logits_NBF = model(batch["image"])
        targets = batch["target"].argmax(dim=1).expand(len(logits_NBF), -1).flatten()
        return {"loss": F.cross_entropy(logits_NBF.float().flatten(0, 1), targets)}
