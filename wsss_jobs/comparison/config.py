"""A comparison file: which recipes run, which of their products count, and the published tables that they fill."""

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from wsss_jobs.comparison.published import Block, Margin, PublishedTable
from wsss_jobs.config.recipe import shipped_recipes
from wsss_jobs.config.validation import validated
from wsss_jobs.config.yaml_files import parse_yaml
from wsss_jobs.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_BY_NAME = ("variants", "methods", "tables", "margins")


class Variant(Block):
    """One recipe to run.

    Attributes:
        recipe: Name of a shipped recipe, or a file (in a comparison file: relative to it).
        set: Changes to it, as `--set` takes them.
        add: Stages behind those of the recipe, as a recipe writes them.
    """

    recipe: str
    set: tuple[str, ...] = ()
    add: tuple[dict[str, Any], ...] = ()


class Method(Block):
    """One product of one variant: what tables and plots call a method.

    Attributes:
        title: What people call it.
        variant: The variant that makes it.
        step: The product, as `wsss evaluate` names it: `gcn_masks`, `gcn_masks/before_crf`, `infer_cams`.
    """

    title: str
    variant: str
    step: str


class Comparison(Block):
    """A comparison file. One with `base: <another>` says only what differs.

    Each of its keys replaces the base's; variants, methods, tables and margins do so one by one, and null leaves one
    out.

    Attributes:
        run: Folder of the run in the store; all variants share it. None: the comparison's name.
        seeds: Run seeds; several give a mean and a spread.
        set: Changes to every recipe; one of a stage counts for the recipes that have this stage.
        score_splits: Score only images of these splits; empty: all.
        plots: Methods that the plots show; empty: all.
        examples: Methods of the picture grid, from left to right; empty: those of the plots.
    """

    name: str
    description: str = ""
    run: str | None = None
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    set: tuple[str, ...] = ()
    score_splits: tuple[str, ...] = ()
    variants: dict[str, Variant] = Field(min_length=1)
    methods: dict[str, Method] = Field(min_length=1)
    tables: dict[str, PublishedTable] = Field(default_factory=dict)
    margins: dict[str, Margin] = Field(default_factory=dict)
    plots: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name in (self.name, self.run or self.name, *self.variants):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: use lower-case letters, digits, '_' and '-' only")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: one is given twice in {list(self.seeds)}")
        for name, method in self.methods.items():
            if method.variant not in self.variants:
                raise ValueError(_unknown(f"methods.{name}.variant", method.variant, "variant", self.variants))
        for where, name in self._named_methods():
            if name not in self.methods:
                raise ValueError(_unknown(where, name, "method", self.methods))
        return self

    def _named_methods(self) -> list[tuple[str, str]]:
        named = [("plots", name) for name in self.plots] + [("examples", name) for name in self.examples]
        for key, margin in self.margins.items():
            named += [(f"margins.{key}.above", margin.above), (f"margins.{key}.below", margin.below)]
        for key, table in self.tables.items():
            for row in table.rows:
                ours = row.ours.values() if isinstance(row.ours, dict) else [row.ours]
                named += [(f"tables.{key}, row {row.method!r}", name) for name in ours if name is not None]
        return named

    @property
    def plotted(self) -> tuple[str, ...]:
        """Names of the methods that the plots show."""
        return self.plots or tuple(self.methods)


def load_comparison(source: str) -> Comparison:
    """Returns the comparison of a file, or a shipped one by name.

    Raises:
        ConfigError: No such comparison, or something in it is wrong.
    """
    return validated(Comparison, _content(source, Path(), ()), path="")


def _content(source: str, folder: Path, derived: tuple[str, ...]) -> dict[str, Any]:
    """Returns what a file says, over what its `base` says."""
    if source in derived:
        raise ConfigError(f"comparison {source!r}: it is its own base ({' -> '.join((*derived, source))})")
    shipped = shipped_comparisons()
    path = shipped.get(source, folder / source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(shipped)
        raise ConfigError(f"comparison {source!r}: no such file ({error.strerror}); shipped: {known}") from error
    content = parse_yaml(text, source)
    base = content.pop("base", None)
    inherited = {} if base is None else _content(str(base), path.parent, (*derived, source))
    if isinstance(content.get("variants"), dict):
        content["variants"] = {name: _located(each, path.parent) for name, each in content["variants"].items()}
    return inherited | content | {key: _over(inherited.get(key), content[key]) for key in _BY_NAME if key in content}


def shipped_comparisons() -> dict[str, Path]:
    """Returns the comparisons that come with the package, by name."""
    folder = Path(str(resources.files("wsss_jobs") / "comparisons"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _over(inherited: Any, own: Any) -> Any:
    """Returns the entries of both; where both have one, or the own is null, the own counts."""
    if not isinstance(inherited, dict) or not isinstance(own, dict):
        return own
    return {name: entry for name, entry in (inherited | own).items() if entry is not None}


def _located(variant: Any, folder: Path) -> Any:
    """Returns a variant with its recipe as `load_recipe` takes it from anywhere."""
    recipe = variant.get("recipe") if isinstance(variant, dict) else None
    if not isinstance(recipe, str) or recipe in shipped_recipes():
        return variant
    return variant | {"recipe": str(folder / recipe)}


def _unknown(where: str, name: str, what: str, known: Iterable[str]) -> str:
    return f"{where}: no {what} is called {name!r}; these are: {', '.join(known)}"
