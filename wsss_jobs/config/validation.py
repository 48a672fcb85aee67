"""pydantic's findings in the words of a recipe: the path of the key, the value found, the nearest known key."""

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from wsss_jobs.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], content: Mapping[str, Any], path: str) -> M:
    """Returns `content` as a `model`.

    Raises:
        ConfigError: All that is wrong with it, one finding a line.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        findings = [_sentence(model, dict(finding), path) for finding in error.errors(include_url=False)]
        raise ConfigError("\n".join(findings)) from error


def _sentence(model: type[BaseModel], finding: dict[str, Any], path: str) -> str:
    location = [str(part) for part in finding["loc"]]
    where = ".".join([*([path] if path else []), *location])
    if finding["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"{where}: unknown key{_suggestion(location[-1], known_keys(model, location[:-1]))}"
    if finding["type"] == "missing":
        return f"{where}: this key is required"
    message = finding["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (found {finding['input']!r})"


def _suggestion(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known keys are {', '.join(known)}" if known else ""


def known_keys(model: Any, location: Sequence[str]) -> list[str]:
    """Returns the keys that a model allows at a location; empty where the location leads nowhere."""
    candidates = [model]
    for part in location:
        candidates = [inner for candidate in candidates for inner in _members(candidate, part)]
    return sorted({name for candidate in candidates for name in _fields(candidate)})


def _fields(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return {entry.name: hints[entry.name] for entry in fields(kind)}
    return {}


def _members(kind: Any, part: str) -> list[Any]:
    """Returns what `part` of a location leads to: a field's or element's type; itself where `part` is a union's tag."""
    if get_origin(kind) in {dict, list, tuple}:
        return _alternatives(get_args(kind)[1 if get_origin(kind) is dict else 0])
    found = _fields(kind)
    return _alternatives(found[part]) if part in found else [kind]


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in {Union, types.UnionType}:
        return [inner for argument in get_args(annotation) for inner in _alternatives(argument)]
    if hasattr(annotation, "__metadata__"):
        return _alternatives(get_args(annotation)[0])
    return [annotation]
