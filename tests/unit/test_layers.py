"""What import-linter cannot say: whose packages these are, and who opens Arrow file systems."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["models", "wsss_jobs", "cluster"])
def test_the_imported_packages_are_ours(name):
    module = __import__(name)
    assert Path(module.__file__).resolve() == REPOSITORY / name / "__init__.py"


def test_arrow_file_systems_are_opened_in_storage_only():
    offenders = []
    for folder in ("models", "cluster", "wsss_jobs"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            imported = {name for node in ast.walk(ast.parse(path.read_text())) for name in _imported(node)}
            if "pyarrow.fs" in imported and "wsss_jobs/storage" not in path.as_posix():
                offenders.append(path)
    assert offenders == []


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
