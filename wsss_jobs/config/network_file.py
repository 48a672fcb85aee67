"""A trained network that a recipe names by its file."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class NetworkFile:
    """A `model.pt` of a finished training, of this run or another.

    Attributes:
        weights: Path or `s3://` address. What counts is the content: fingerprints know the file by its digest.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    weights: str
