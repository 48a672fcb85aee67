"""Translates a Dockerfile into calls of shell functions, so that its steps can be run where no container engine is.

`python docker/dockerfile_steps.py docker/Dockerfile cpu [TORCH_INDEX=...]` prints the stages that the target needs, in
order, one call a step: `stage`, `set_env`, `workdir`, `user`, `run`, `copy`, `copy_from`. The commands are the
Dockerfile's own words. docker/run_in_clean_root.sh defines the functions.
"""

import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One stage: its name, what it begins from (a stage or an image), and its instructions."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def parse(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile by name, in its order; `ARG`s in `FROM` lines are filled in.

    Raises:
        ValueError: An instruction that this file does not know.
    """
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for keyword, rest in _instructions(text):
        if keyword == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            current = stages[name] = Stage(name, re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base))
        elif current is None:
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            current.steps.append((keyword, rest))
    return stages


def program(stages: dict[str, Stage], target: str, arguments: dict[str, str]) -> list[str]:
    """Shell lines that build `target` and before it what it needs."""
    lines = []
    for stage in _needed(stages, target):
        base = stage.base if stage.base in stages else ""
        lines.append(_call("stage", stage.name, base))
        lines += [line for keyword, rest in stage.steps for line in _lines(keyword, rest, arguments)]
    return lines


def _instructions(text: str) -> list[tuple[str, str]]:
    """Keyword and rest of every instruction, without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(keyword, rest) for keyword, _, rest in (line.partition(" ") for line in joined.splitlines())]


def _needed(stages: dict[str, Stage], target: str) -> list[Stage]:
    """`target` and the stages that it copies from or begins from, in the order of the file."""
    wanted, queue = set(), [target]
    while queue:
        stage = stages[queue.pop()]
        wanted.add(stage.name)
        sources = [match[1] for keyword, rest in stage.steps if (match := re.match(r"--from=(\S+)", rest))]
        queue += [name for name in [stage.base, *sources] if name in stages and name not in wanted]
    return [stage for stage in stages.values() if stage.name in wanted]


def _lines(keyword: str, rest: str, arguments: dict[str, str]) -> list[str]:
    match keyword:
        case "RUN" | "WORKDIR" | "USER":
            return [_call(keyword.lower(), rest)]
        case "ENV":
            return [_call("set_env", *pair.split("=", 1)) for pair in shlex.split(rest)]
        case "ARG":
            name, _, default = rest.partition("=")
            return [_call("set_env", name, arguments.get(name, default))]
        case "COPY":
            source = re.match(r"--from=(\S+) (\S+) (\S+)", rest)
            return [_call("copy_from", *source.groups())] if source else [_call("copy", *rest.split())]
        case "CMD":
            return []
    raise ValueError(f"{keyword} {rest}: an instruction that dockerfile_steps.py does not know")


def _call(name: str, *arguments: str) -> str:
    return " ".join((name, *(shlex.quote(argument) for argument in arguments)))


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[3:])
    steps = program(parse(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2], given)
    sys.stdout.write("\n".join(steps) + "\n")
