"""How hard and how varied generated images are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyntheticStyle:
    """The knobs of generated images. Their defaults are our choice: see docs/datasets.md for what they lead to.

    Args:
        width_px: Width of an image.
        height_px: Height of an image.
        max_objects: Most objects in an image; the first is certain, each further one has half the chance of the last.
        min_size: Smallest half-length of an object, as a part of the image's height.
        max_size: Largest half-length of an object, as a part of the image's height.
        mark_contrast: How far the pattern on the telling part stands out (0..1). More makes tags easier to learn and
            CAMs narrower.
        body_contrast: Smallest distance between an object's colour and the mean colour behind it (RGB in 0..1). More
            gives affinities and CRFs clearer edges.
        max_distractors: Most things without a tag in an image: boulders in the objects' own colours, logs, bushes.
        context: Probability that a scene is one that its first object likes (0.2 is chance). More lures the
            classifier, and so CAMs, into the background.
        texture: Strength of surface texture on objects and ground (0..1).
        noise: Standard deviation of the camera's noise, in grey levels of 255.
        val_part: Part of the images that go to the list `val`.
    """

    width_px: int = 176
    height_px: int = 128
    max_objects: int = 3
    min_size: float = 0.28
    max_size: float = 0.46
    mark_contrast: float = 0.55
    body_contrast: float = 0.30
    max_distractors: int = 3
    context: float = 0.5
    texture: float = 0.5
    noise: float = 3.0
    val_part: float = 0.2

    def __post_init__(self) -> None:
        if min(self.width_px, self.height_px) < 48:
            raise ValueError(f"width_px and height_px must be at least 48, found {self.width_px} and {self.height_px}")
        if not 0.05 <= self.min_size <= self.max_size <= 0.5:
            raise ValueError(
                f"sizes must satisfy 0.05 <= min_size <= max_size <= 0.5, found {self.min_size}, {self.max_size}"
            )
        if self.max_objects < 1 or self.max_distractors < 0:
            raise ValueError("max_objects must be at least 1 and max_distractors at least 0")
        for name in ("mark_contrast", "body_contrast", "context", "texture", "val_part"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in 0..1, found {getattr(self, name)}")
