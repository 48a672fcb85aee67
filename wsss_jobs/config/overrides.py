"""`--set a.b=c`: one value of a recipe, by its path; stages by name, as in `stages.propagate_gcn.gcn.num_steps`."""

from collections.abc import Iterable
from typing import Any

from wsss_jobs.config.yaml_files import parse_value
from wsss_jobs.errors import ConfigError


def apply_overrides(content: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Returns a copy of the recipe's mapping with every `path=value` applied, in order.

    Raises:
        ConfigError: No `=`, an empty path, a path through a plain value, or a stage that the recipe does not have.
    """
    changed: dict[str, Any] = _unshared(content)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path:
            raise ConfigError(
                f"--set {override!r}: write it as path=value, for example stages.refine_masks.unary=label"
            )
        _assign(changed, path.split("."), parse_value(text), override)
    return changed


def _unshared(value: Any) -> Any:
    """Returns a copy in which what YAML's aliases share is apart: a change of one stage is none of another's."""
    if isinstance(value, dict):
        return {key: _unshared(each) for key, each in value.items()}
    return [_unshared(each) for each in value] if isinstance(value, list) else value


def _assign(content: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    if len(keys) > 1 and keys[0] == "stages":
        return _assign(_stage(content, keys[1], override), keys[2:], value, override)
    if not keys:
        raise ConfigError(f"--set {override!r}: a whole stage cannot be replaced; set its keys one by one")
    for key in keys[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {override!r}: {key!r} is a plain value and has no keys below it")
    content[keys[-1]] = value
    return None


def _stage(content: dict[str, Any], name: str, override: str) -> dict[str, Any]:
    stages = [entry for entry in content.get("stages", []) if isinstance(entry, dict)]
    for entry in stages:
        if entry.get("name", entry.get("stage")) == name:
            return entry
    known = ", ".join(str(entry.get("name", entry.get("stage"))) for entry in stages)
    raise ConfigError(f"--set {override!r}: the recipe has no stage {name!r}; it has {known}")
