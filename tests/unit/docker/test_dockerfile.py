"""docker/Dockerfile, and its translation for a machine without a container engine."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT = (REPOSITORY / "docker" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def steps():
    spec = importlib.util.spec_from_file_location("dockerfile_steps", REPOSITORY / "docker" / "dockerfile_steps.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def stages(steps):
    return steps.parse(TEXT)


def keywords(stage, keyword):
    return [rest for found, rest in stage.steps if found == keyword]


def test_one_base_image_pinned_to_the_patch(stages):
    bases = {stage.base for stage in stages.values()} - set(stages)
    assert len(bases) == 1, "a virtual environment works only on the Python that made it"
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())


def test_the_python_is_one_that_the_package_takes():
    python = re.search(r"^ARG PYTHON=(\d+)\.(\d+)", TEXT, re.MULTILINE).groups()
    required = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    assert required == ">=3.11"
    assert tuple(map(int, python)) >= (3, 11)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_targets_end_as_a_user_by_number(stages, target):
    assert stages[target].steps[-1] == ("USER", "1000")
    assert any("useradd" in command and "--uid 1000" in command for command in keywords(stages["run"], "RUN"))


def test_every_install_from_an_index_is_constrained(stages):
    commands = [part for stage in stages.values() for run in keywords(stage, "RUN") for part in run.split("&&")]
    installs = [part for part in commands if "pip install" in part and "--no-index" not in part]
    assert len(installs) >= 4
    assert all(re.search(r" -c \S*constraints\.txt ", part) for part in installs)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_no_compiler_of_the_build_reaches_the_image(stages, target):
    assert stages[target].base == "run"
    assert "g++" not in " ".join(keywords(stages["run"], "RUN") + keywords(stages[target], "RUN"))


def test_the_image_has_what_ray_and_kuberay_call_inside_it(stages):
    run = " ".join(keywords(stages["run"], "RUN"))
    assert all(program in run for program in ("openssh-client", "rsync", "wget"))
    environment = " ".join(keywords(stages["run"], "ENV"))
    assert "HOME=/home/ray" in environment  # Ray's launcher takes /root where the image does not say
    assert "NVIDIA_VISIBLE_DEVICES=all" in " ".join(keywords(stages["gpu"], "ENV"))


def test_a_login_shell_finds_our_programs(stages):
    command = next(run for run in keywords(stages["run"], "RUN") if "/etc/profile.d" in run)
    assert "PATH=/opt/wsss/bin:$PATH" in command
    assert any("PATH=/opt/wsss/bin:$PATH" in value for value in keywords(stages["run"], "ENV"))


def test_what_is_copied_from_the_repository_is_there(stages):
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for stage in stages.values():
        for rest in keywords(stage, "COPY"):
            if not rest.startswith("--from"):
                source = rest.split()[0]
                assert (REPOSITORY / source).exists()
                assert source not in ignored


def test_the_program_holds_the_dockerfiles_own_commands_in_order(steps, stages):
    program = steps.program(stages, "cpu", {"TORCH_INDEX": "https://index/of mine"})
    names = [line.split()[1] for line in program if line.startswith("stage ")]
    assert names == ["build", "package", "dependencies-cpu", "run", "cpu"]
    script = ["run() { printf '%s\\n' \"$1\"; }", "set_env() { :; }"]
    script += [f"{name}() {{ :; }}" for name in ("stage", "workdir", "user", "copy", "copy_from")]
    shown = subprocess.run(
        ["sh", "-eu"], input="\n".join([*script, *program]), capture_output=True, text=True, check=True
    )
    expected = [rest for name in names for rest in keywords(stages[name], "RUN")]
    assert shown.stdout.splitlines() == expected
    assert "set_env TORCH_INDEX 'https://index/of mine'" in program


def test_an_unknown_instruction_is_refused(steps):
    stages = steps.parse("FROM python:3.11 AS one\nHEALTHCHECK NONE\n")
    with pytest.raises(ValueError, match="HEALTHCHECK NONE"):
        steps.program(stages, "one", {})
