"""The jobs of a comparison: one recipe a variant and seed, all on one data set in one run folder.

They stay jobs of their own and run one after the other. A stage that several have in common has the same name and the
same fingerprint in each, so the first job makes it and the others find it. One merged plan would do the same work; but
it would have to rename stages, which moves their folders, and one failed stage would stop all variants.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wsss_jobs.comparison.config import Comparison, Variant
from wsss_jobs.comparison.table_epochs import column_epochs
from wsss_jobs.config.recipe import Recipe, load_recipe, parse_recipe
from wsss_jobs.dataset_cache import IndexedDataset
from wsss_jobs.errors import ConfigError
from wsss_jobs.job import PreparedJob, prepare
from wsss_jobs.report.steps import run_steps

_STAGES = "stages"
_OURS = {"name": "variants have the comparison's", "run": "set `run` in the comparison", "seed": "use --seeds"}


@dataclass(frozen=True)
class VariantJob:
    """One variant with one seed."""

    variant: str
    seed: int
    job: PreparedJob


def prepare_comparison(
    comparison: Comparison,
    overrides: Sequence[str] = (),
    on_index: Callable[[int, int], None] | None = None,
) -> list[VariantJob]:
    """Returns all jobs, in the order in which they run: every variant with the first seed, then with the next one.

    Args:
        overrides: Changes to every recipe, after those of the file; one of a stage counts where this stage is.

    Raises:
        ConfigError, DataError, StorageError: What is wrong with any of them, before anything has started.
    """
    recipes = variant_recipes(comparison, overrides)
    jobs: list[VariantJob] = []
    indexed = None
    for (variant, seed), recipe in recipes.items():
        job = prepare(recipe, on_index, indexed)
        indexed = IndexedDataset(job.dataset, job.rejected)
        jobs.append(VariantJob(variant, seed, job))
    _check_steps(comparison, jobs)
    _check_epochs(comparison, jobs)
    _check_splits(comparison, jobs[0].job)
    return jobs


def variant_recipes(comparison: Comparison, overrides: Sequence[str] = ()) -> dict[tuple[str, int], Recipe]:
    """Returns the recipe of every variant and seed.

    Raises:
        ConfigError: A recipe is wrong, a change fits none of them, or they are not on one data set in one store.
    """
    common = [*comparison.set, *overrides]
    stages = {name: _stage_names(name, comparison) for name in comparison.variants}
    _check_ours([*common, *(change for variant in comparison.variants.values() for change in variant.set)])
    _check_stages(common, stages)
    recipes = {
        (name, seed): _variant_recipe(comparison, name, seed, [each for each in common if _fits(each, stages[name])])
        for seed in comparison.seeds
        for name in comparison.variants
    }
    _check_one_place(recipes)
    return recipes


def _variant_recipe(comparison: Comparison, name: str, seed: int, common: Sequence[str]) -> Recipe:
    variant = comparison.variants[name]
    ours = [f"name={comparison.name}-{name}-seed{seed}", f"run='{comparison.run or comparison.name}'", f"seed={seed}"]
    try:
        # The variant's own changes come last: they are what tells it from the others.
        return _with_added(variant, [*common, *variant.set, *ours])
    except ConfigError as error:
        raise ConfigError(f"variants.{name} ({variant.recipe}): {error}") from error


def _with_added(variant: Variant, overrides: Sequence[str] = ()) -> Recipe:
    """Returns a variant's recipe with the stages that it adds, which may need what it changes."""
    content = load_recipe(variant.recipe).content
    return parse_recipe({**content, "stages": [*content["stages"], *variant.add]}, overrides)


def _stage_names(name: str, comparison: Comparison) -> set[str]:
    try:
        written = _with_added(comparison.variants[name]).content["stages"]
        return {entry.get("name", entry["stage"]) for entry in written}
    except ConfigError as error:
        raise ConfigError(f"variants.{name}: {error}") from error


def _stage_of(override: str) -> str | None:
    """Returns the stage that a change is about, or None."""
    keys = override.partition("=")[0].split(".")
    return keys[1] if keys[0] == _STAGES and len(keys) > 1 else None


def _fits(override: str, stages: set[str]) -> bool:
    stage = _stage_of(override)
    return stage is None or stage in stages


def _check_ours(overrides: Iterable[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0]
        if key in _OURS:
            raise ConfigError(f"--set {override!r}: not for a comparison; {_OURS[key]}")


def _check_stages(overrides: Iterable[str], stages: Mapping[str, set[str]]) -> None:
    for override in overrides:
        if not any(_fits(override, names) for names in stages.values()):
            known = ", ".join(sorted(set().union(*stages.values())))
            raise ConfigError(
                f"--set {override!r}: no variant has the stage {_stage_of(override)!r}; they have {known}"
            )


def _check_one_place(recipes: Mapping[tuple[str, int], Recipe]) -> None:
    (first_name, _), first = next(iter(recipes.items()))
    for (name, _), recipe in recipes.items():
        for block in ("dataset", "store"):
            if getattr(recipe, block) != getattr(first, block):
                raise ConfigError(
                    f"variants.{name}: its {block} is not that of {first_name!r}; a comparison is on one data set in "
                    f"one store: give both the same {block} block, or set `{block}....` for all"
                )


def _check_steps(comparison: Comparison, jobs: Sequence[VariantJob]) -> None:
    plans = {each.variant: each.job.plan for each in jobs}
    for name, method in comparison.methods.items():
        steps = [step.name for step in run_steps(plans[method.variant]) if step.kind != "affinity"]
        if method.step not in steps:
            raise ConfigError(
                f"methods.{name}.step: variant {method.variant!r} has no {method.step!r}; it has {', '.join(steps)}"
            )


def _check_epochs(comparison: Comparison, jobs: Sequence[VariantJob]) -> None:
    plans = {each.variant: each.job.plan for each in jobs}
    for key, table in comparison.tables.items():
        if table.over_epochs:
            column_epochs(comparison, key, plans)


def _check_splits(comparison: Comparison, job: PreparedJob) -> None:
    known = sorted({item.split for item in job.dataset.items})
    unknown = [split for split in comparison.score_splits if split not in known]
    if unknown:
        raise ConfigError(f"score_splits: the data set has no split {unknown[0]!r}; it has {', '.join(known)}")
