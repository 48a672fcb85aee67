"""What makes two submissions the same job, and how a job of a cluster is recognised."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

from wsss_jobs.config.recipe import Recipe

_PREFIX = "wsss_"


@dataclass(frozen=True)
class JobIdentity:
    """A recipe in a store: what its jobs carry as metadata.

    Attributes:
        store: Address of the run's folder.
        run: Name of the run.
        recipe: Name of the recipe.
        recipe_sha256: Of the resolved recipe, `--set` included.
    """

    store: str
    run: str
    recipe: str
    recipe_sha256: str

    @property
    def work(self) -> tuple[str, str]:
        """What no two jobs should be at with different settings: the recipe's place in a store."""
        return self.store, self.recipe

    def submission_id(self, number: int) -> str:
        """Id of the job's `number`-th submission: two people who submit at the same moment get the same one."""
        store = hashlib.sha256(self.store.encode()).hexdigest()[:4]
        return f"wsss-{self.run}-{self.recipe}-{self.recipe_sha256[:8]}{store}-{number}"

    def as_metadata(self) -> dict[str, str]:
        """The identity as a job's metadata."""
        return {_PREFIX + name: value for name, value in asdict(self).items()}


def recipe_sha256(recipe: Recipe) -> str:
    """Returns the SHA-256 of the recipe after `--set`, in hex."""
    return hashlib.sha256(json.dumps(recipe.content, sort_keys=True, default=str).encode()).hexdigest()


def identity_of(recipe: Recipe, store_uri: str) -> JobIdentity:
    """Returns the identity of a recipe whose run folder is at `store_uri`."""
    return JobIdentity(store_uri, recipe.run, recipe.name, recipe_sha256(recipe))


def identity_from(metadata: Mapping[str, str]) -> JobIdentity | None:
    """Returns the identity that a job's metadata holds; None for jobs of others."""
    known = {entry.name: metadata.get(_PREFIX + entry.name) for entry in fields(JobIdentity)}
    values = {name: value for name, value in known.items() if value is not None}
    return JobIdentity(**values) if len(values) == len(known) else None


def next_number(identity: JobIdentity, submission_ids: Iterable[str]) -> int:
    """Returns the number of the next submission of a job, after those that the cluster remembers."""
    stem = identity.submission_id(0).removesuffix("0")
    taken = [name.removeprefix(stem) for name in submission_ids if name.startswith(stem)]
    return 1 + max((int(number) for number in taken if number.isdigit()), default=0)
