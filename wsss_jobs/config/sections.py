"""Sections: entries of a recipe's stages that stand for a chain of them. Found by name; imported when asked for."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict

_CLASSES = {"isim": ("wsss_jobs.config.isim_section", "IsimSection")}


class StageSection(BaseModel):
    """The settings of a section. It has no fingerprint and runs nothing: the stages that it stands for do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def entries(self, name: str) -> list[dict[str, Any]]:
        """Returns the stages as a recipe writes them; their names begin with that of the section."""


class _Sections(Mapping[str, type[StageSection]]):
    def __getitem__(self, name: str) -> type[StageSection]:
        module, class_name = _CLASSES[name]
        found: type[StageSection] = getattr(import_module(module), class_name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


SECTIONS: Mapping[str, type[StageSection]] = _Sections()
