"""YAML with the one check that PyYAML leaves out: a key given twice is an error, not a silent choice."""

from collections.abc import Hashable
from typing import Any

import yaml

from wsss_jobs.errors import ConfigError


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConfigError(f"key {key!r} is given twice (line {key_node.start_mark.line + 1}): keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Returns the mapping that `text` holds.

    Raises:
        ConfigError: Not YAML, not a mapping, or a key given twice; names `source` and the line.
    """
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{source} must hold a mapping of settings; found {type(content).__name__}")
    return content


def parse_value(text: str) -> Any:
    """Returns the value that `text` means in YAML: `3`, `true`, `[1, 2]`, `a word`."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"value {text!r} is not valid YAML: {error}") from error
