"""The two players of ACR and their turns (Kweon, Yoon, Yoon, CVPR 2023, section 4; figure 3).

In its turn, each network is trained against the other as it is: the reconstructor learns to draw each segment from the
other, the classifier learns class maps from whose segments it cannot. Both turns of a step use one batch and one target
class an image.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from models.adversarial.classifier import AcrClassifier
from models.adversarial.frozen import frozen
from models.adversarial.loss_forms import LossForm
from models.adversarial.losses import classification_loss, counted_masked_l1, hard_masks, masked_l1
from models.adversarial.reconstructor import Reconstruction, Reconstructor
from models.adversarial.segments import Segments, enlarged, segments
from models.adversarial.target_class import has_target, of_target
from models.classifiers.normalised_cam import min_max
from models.errors import InvalidInputError

Losses = dict[str, torch.Tensor]


@dataclass(frozen=True)
class AcrBatch:
    """One batch.

    Attributes:
        images: `[B, 3, H, W]`, normalised; also what is to be reconstructed.
        labels: `[B, C]`, 1 for the classes in the image.
        target: `[B]`, channel of the target class, -1 without any.
        leak: `[B, 1, s, s]`, the grid g of remnant feeding.
    """

    images: torch.Tensor
    labels: torch.Tensor
    target: torch.Tensor
    leak: torch.Tensor

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]


class AdversarialPair(nn.Module):
    """Classifier and reconstructor; without a reconstructor, the classifier learns from tags alone (the baseline).

    Raises:
        InvalidInputError: Both are to see one batch, and their encoders want it in different colours or sizes.
    """

    def __init__(self, classifier: AcrClassifier, reconstructor: Reconstructor | None, terms: LossForm) -> None:
        super().__init__()
        if reconstructor is not None:
            _check_encoders(classifier, reconstructor)
        self.classifier = classifier
        self.reconstructor = reconstructor
        self.terms = terms

    def reconstructor_losses(self, acting: nn.Module, batch: AcrBatch) -> Losses:
        """Returns `loss` (equation 7, and the released code's two further terms) and its parts.

        Args:
            acting: The reconstructor, or what wraps it to average gradients over workers.
            batch: Images, tags, targets and leaks.
        """
        assert self.reconstructor is not None
        with torch.no_grad(), frozen(self.classifier):
            signed = self.classifier(batch.images).sum(dim=0).float()
        counted = self._segments(signed, batch, batch.size_hw, with_leak=True)
        fed = self._segments(signed, batch, self.reconstructor.mask_size(batch.size_hw), with_leak=True)
        made: Reconstruction = acting(batch.images, (fed.fed_target, fed.fed_rest), with_whole=self.terms.whole > 0)
        return self._reconstruction_terms(made, counted, batch)

    def classifier_losses(self, acting: nn.Module, batch: AcrBatch) -> Losses:
        """Returns `loss` (equation 14) and its parts; without a reconstructor the loss on tags alone.

        Args:
            acting: The classifier, or what wraps it.
            batch: Images, tags and targets; nothing leaks in this turn.
        """
        signed_NBChw = acting(batch.images)
        on_tags = classification_loss(signed_NBChw.mean(dim=(3, 4)), batch.labels)
        terms = self.terms
        if self.reconstructor is None or terms.spoil_target == terms.spoil_rest == 0:
            return {"loss": on_tags}
        signed = signed_NBChw.sum(dim=0).float()
        with frozen(self.reconstructor):
            target, rest = self._spoilt(self.reconstructor, signed, batch)
        loss = on_tags - terms.spoil_target * target - terms.spoil_rest * rest
        return {"loss": loss, "classification": on_tags, "spoilt_target": target, "spoilt_rest": rest}

    def _reconstruction_terms(self, made: Reconstruction, counted: Segments, batch: AcrBatch) -> Losses:
        terms = self.terms
        from_target, from_rest = made.parts
        counts = has_target(batch.target)
        valid_target, valid_rest = counted.valid_target * counts, counted.valid_rest * counts
        losses = {
            "target": masked_l1(batch.images, from_target, valid_target),
            "rest": counted_masked_l1(batch.images, from_rest, valid_rest, counted.fed_rest, terms.min_fed_px),
        }
        loss = terms.target * losses["target"] + terms.rest * losses["rest"]
        if made.whole is not None:
            losses["whole"] = (made.whole.float() - batch.images).abs().mean()
            loss = loss + terms.whole * losses["whole"]
        if made.logits is not None:
            losses["classification"] = classification_loss(made.logits, batch.labels)
            loss = loss + terms.classification * losses["classification"]
        return {"loss": loss, **losses}

    def _spoilt(
        self, reconstructor: Reconstructor, signed_BChw: torch.Tensor, batch: AcrBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the errors of both reconstructions that the classifier is to raise, each at least 0."""
        with torch.no_grad():
            features = reconstructor.features(batch.images)
        fed = self._segments(signed_BChw, batch, reconstructor.mask_size(batch.size_hw), with_leak=False)
        from_target, from_rest = reconstructor.draw(features, (fed.fed_target, fed.fed_rest), batch.size_hw)
        valid_target, valid_rest = self._spoil_masks(signed_BChw, batch)
        return masked_l1(batch.images, from_target, valid_target), masked_l1(batch.images, from_rest, valid_rest)

    def _spoil_masks(self, signed_BChw: torch.Tensor, batch: AcrBatch) -> tuple[torch.Tensor, torch.Tensor]:
        if self.terms.detach_masks:
            signed_BChw = signed_BChw.detach()
        cam_B1HW = self._target_cam(signed_BChw, batch, batch.size_hw)
        if self.terms.masks == "hard":
            target, rest = hard_masks(cam_B1HW, self._resized(signed_BChw, batch.size_hw), batch.target)
        else:
            target, rest = 1.0 - cam_B1HW, cam_B1HW
        counts = has_target(batch.target)
        return target * counts, rest * counts

    def _segments(
        self, signed_BChw: torch.Tensor, batch: AcrBatch, size_hw: tuple[int, int], *, with_leak: bool
    ) -> Segments:
        leak = enlarged(batch.leak, size_hw) if with_leak else None
        return segments(self._target_cam(signed_BChw, batch, size_hw), leak)

    def _target_cam(self, signed_BChw: torch.Tensor, batch: AcrBatch, size_hw: tuple[int, int]) -> torch.Tensor:
        """Returns A_t, `[B, 1, y, x]`: normalised on its own grid, enlarged after that."""
        cams_BChw = min_max(F.relu(signed_BChw)) * batch.labels[:, :, None, None]
        return self._resized(of_target(cams_BChw, batch.target), size_hw)

    def _resized(self, x: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
        if tuple(x.shape[2:]) == size_hw:
            return x
        corner_aligned = self.classifier.encoder_config.is_corner_aligned
        return F.interpolate(x, size=size_hw, mode="bilinear", align_corners=corner_aligned)


def _check_encoders(classifier: AcrClassifier, reconstructor: Reconstructor) -> None:
    first, second = classifier.normalisation, reconstructor.encoder.normalisation
    if first != second:
        msg = (
            f"classifier and reconstructor see one batch; their encoders differ in normalisation: {first} and {second}"
        )
        raise InvalidInputError(msg)
    offsets = classifier.encoder_config.size_offset, reconstructor.config.encoder.size_offset
    if offsets[0] != offsets[1]:
        msg = f"masks from the classifier's maps go onto the reconstructor's; give both one size_offset, not {offsets}"
        raise InvalidInputError(msg)
