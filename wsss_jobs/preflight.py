"""What can be known to go wrong with a job before it runs: recipe, store, data set, resources. All at once."""

import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from cluster.capacity import ClusterCapacity
from cluster.preflight import Finding, Need, check_capacity
from cluster.resources import ClusterResources, choose_device
from cluster.upload import Upload
from wsss_jobs.config.recipe import Recipe, load_recipe, shipped_recipes
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.errors import WsssError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.run_store import open_run_store
from wsss_jobs.stages.base import Device
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import is_remote, local_path

T = TypeVar("T")


def check_recipe(source: str, overrides: Iterable[str]) -> tuple[Recipe | None, list[Finding]]:
    """Returns the recipe, and what is wrong with it: keys, values, and stages that do not fit together."""
    recipe, findings = _found("recipe", lambda: load_recipe(source, overrides))
    if recipe is not None:
        entries, seed = recipe.stages, recipe.seed
        findings += _found("recipe", lambda: build_plan(entries, "", seed))[1]
    return recipe, findings


def check_recipe_file(source: str, upload: Upload) -> list[Finding]:
    """Returns a finding unless the cluster will see the recipe: a shipped one, or a file that is uploaded."""
    path = Path(source)
    is_shipped = path.suffix not in {".yaml", ".yml"} and source in shipped_recipes()
    if is_shipped or not path.is_file() or upload.holds(path):
        return []
    message = (
        f"{source} is not among the {len(upload.files)} files that are uploaded from {upload.folder}; move it there, "
        "take another --working-dir, or look whether .gitignore, .rayignore or --exclude names it"
    )
    return [Finding("error", "recipe", message)]


def check_store_place(uri: str, *, is_this_machine: bool) -> list[Finding]:
    """Returns findings on a store that is a folder, of which every node has its own."""
    if is_remote(uri):
        return []
    path = local_path(uri)
    if not path.is_absolute():
        message = (
            f"store.uri {uri!r} is relative: on a cluster it would lie in Ray's temporary copy of the working "
            "directory, and go with it. Give s3://bucket/prefix, or an absolute path that all nodes share"
        )
        return [Finding("error", "store", message)]
    if is_this_machine:
        return []
    message = (
        f"store.uri {uri!r} is a folder: right only if every node of the cluster has the same one mounted there. "
        "Otherwise each node writes its own and the job cannot finish; s3://bucket/prefix is seen by all"
    )
    return [Finding("warning", "store", message)]


def check_store(store: ObjectStore) -> list[Finding]:
    """Returns a finding unless an object can be written, read back and deleted."""
    key, data = f"jobs/probe-{secrets.token_hex(6)}", secrets.token_bytes(32)

    def probe() -> None:
        store.put(key, data)
        try:
            if store.get(key) != data:
                raise WsssError(f"{store.uri_of(key)}: what was read is not what was written a moment before")
        finally:
            store.delete([key])

    return _found("store", probe)[1]


def check_dataset(recipe: Recipe) -> list[Finding]:
    """Returns a finding unless the data set's lists can be read here. Looks at no image."""

    def read() -> None:
        load_class_names(recipe.dataset)
        load_sources(recipe.dataset)

    return _found("dataset", read)[1]


def check_resources(recipe: Recipe, resources: ClusterResources, capacity: ClusterCapacity) -> list[Finding]:
    """Returns findings on the device, and on stages whose workers no node can hold."""
    choice, findings = _found("resources", lambda: choose_device(recipe.resources.device, resources))
    return findings + (check_capacity(stage_needs(recipe, choice.device), capacity) if choice else [])


def stage_needs(recipe: Recipe, device: Device) -> list[Need]:
    """Returns what one worker of each stage takes on a device."""
    needs = []
    for entry in recipe.stages:
        takes = entry.resources
        request = {"GPU": takes.num_gpus} if takes.device_on(device) == "cuda" else {"CPU": takes.num_cpus}
        needs.append(Need(f"stage {entry.name}", {name: value for name, value in request.items() if value > 0}))
    return needs


def check_on_cluster(recipe: Recipe, resources: ClusterResources, capacity: ClusterCapacity) -> list[Finding]:
    """Returns all that can be found where the driver runs."""
    store, findings = _found("store", lambda: open_run_store(recipe.store, recipe.run))
    findings += check_store(store) if store is not None else []
    return findings + check_dataset(recipe) + check_resources(recipe, resources, capacity)


def _found(check: str, look: Callable[[], T]) -> tuple[T | None, list[Finding]]:
    """Returns what `look` returns, or a finding with what it raises."""
    from cluster.errors import ClusterError

    try:
        return look(), []
    except (WsssError, ClusterError) as error:
        return None, [Finding("error", check, line) for line in str(error).splitlines() if line.strip()]
