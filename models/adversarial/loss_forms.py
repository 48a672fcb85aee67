"""The losses of ACR: their terms, weights and masks, in the form of the paper and in that of the released code."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

from models.errors import InvalidInputError

MaskKind = Literal["soft", "hard"]


@dataclass(frozen=True)
class LossForm:
    """The points in which the paper's text and its released code disagree, and the weights in which they do not.

    Attributes:
        classification: In the reconstructor's phase, weight of a classification loss on a head of its own.
        whole: There, weight of the reconstruction of the whole image, which teaches the decoder alone.
        target: There, weight of L_t: outside of the target, from the target (equation 5).
        rest: There, weight of L_nt: the target, from the rest (equation 6).
        min_fed_px: There, an image counts in L_nt only with more than this sum of its fed mask, in pixels.
        spoil_target: In the classifier's phase, weight of L_t (equation 12).
        spoil_rest: There, weight of L_nt (equation 13).
        masks: There, `soft`: 1 - A and A. `hard`: where A is exactly 0; A where the target has the highest class map.
        detach_masks: There, whether the gradient stops at the masks. Attached, the error can be raised by enlarging
            the mask instead of parting the image better.
    """

    classification: float
    whole: float
    target: float
    rest: float
    min_fed_px: float
    spoil_target: float
    spoil_rest: float
    masks: MaskKind
    detach_masks: bool


LOSS_FORMS = {
    "paper": LossForm(0.0, 0.0, 0.5, 0.5, 0.0, 0.8, 0.3, "soft", detach_masks=False),
    "released": LossForm(1.0, 0.2, 0.5, 0.3, 50.0, 0.8, 0.3, "hard", detach_masks=True),
}


@dataclass(frozen=True)
class AdversarialLossConfig:
    """Which losses.

    Attributes:
        form: `released` made the published checkpoint, `paper` is the text. Each other value, where it is not None,
            replaces the form's own; see `LossForm`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    form: Literal["paper", "released"] = "released"
    classification: float | None = None
    whole: float | None = None
    target: float | None = None
    rest: float | None = None
    min_fed_px: float | None = None
    spoil_target: float | None = None
    spoil_rest: float | None = None
    masks: MaskKind | None = None
    detach_masks: bool | None = None

    def __post_init__(self) -> None:
        if self.form not in LOSS_FORMS:
            raise InvalidInputError(f"there is no loss form {self.form!r}: the forms are {', '.join(LOSS_FORMS)}")
        for name in ("classification", "whole", "target", "rest", "min_fed_px", "spoil_target", "spoil_rest"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InvalidInputError(f"{name} must not be negative; got {value}")
        if self.terms.target == self.terms.rest == 0:
            raise InvalidInputError("target and rest are both 0: the reconstructor would learn nothing; set one")

    @property
    def terms(self) -> LossForm:
        """The form with what replaces its values."""
        names = [field.name for field in fields(LossForm)]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(LOSS_FORMS[self.form], **given)
