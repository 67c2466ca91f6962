import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = {"app", "workers", "celeryconfig"}


def names(requirements):
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {match[0].lower().replace("_", "-") for match in found}


def imported(*places):
    """Distributions that the modules below *places* import by name."""
    modules = set()
    for path in (path for place in places for path in (ROOT / place).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add((node.module or "").split(".")[0])
    providers = packages_distributions()
    foreign = modules - sys.stdlib_module_names - OURS
    return names(provider for module in foreign for provider in providers.get(module, [module])[:1])


def test_all_that_a_client_imports_is_a_dependency():
    assert imported("app") - names(PROJECT["dependencies"]) == set()


def test_all_that_a_worker_imports_is_a_dependency_or_in_its_extra():
    declared = names(PROJECT["dependencies"]) | names(EXTRAS["worker"])

    assert imported("workers") - declared == set()


@pytest.mark.parametrize("extra", [None, *EXTRAS], ids=lambda extra: extra or "none")
def test_every_dependency_is_locked(extra):
    requirements = EXTRAS[extra] if extra else PROJECT["dependencies"]
    lines = (ROOT / "docker" / "constraints.txt").read_text().splitlines()

    assert names(requirements) - names(lines[2:]) == set()
