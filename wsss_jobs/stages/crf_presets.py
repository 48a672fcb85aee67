"""Dense CRFs by the name of a published parameter set, where a recipe would rather not repeat its numbers."""

from typing import Any

from models.crf.presets import get_preset


def crf_by_name(value: Any) -> Any:
    """Returns the preset of that name; anything but a string as it is.

    Raises:
        InvalidInputError: There is no such preset (a ValueError, which pydantic reports with its place).
    """
    return get_preset(value).config if isinstance(value, str) else value


def crf_by_name_inside(value: Any) -> Any:
    """Returns a mapping with its `crf` looked up by name."""
    if isinstance(value, dict) and "crf" in value:
        return {**value, "crf": crf_by_name(value["crf"])}
    return value
