import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TABLE = (ROOT / "docs" / "reference" / "invariants.md").read_text()
ROWS = {int(number): tests for number, tests in re.findall(r"^\| (\d+) \|.*\|(.*)\|$", TABLE, re.M)}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_the_table_has_twenty_two_invariants():
    assert list(ROWS) == list(range(1, 23))


@pytest.mark.parametrize("number", ROWS)
def test_every_invariant_has_tests_that_exist(number):
    named = TEST.findall(ROWS[number])

    missing = [(path, name) for path, name in named if name not in collected_from(path)]

    assert named
    assert missing == []
    assert len(named) == ROWS[number].count("::")


def collected_from(path):
    """Functions that pytest collects from a file and does not skip."""
    body = ast.parse((ROOT / path).read_text()).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    others = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if any("skip" in ast.unparse(node) for node in others):  # all of the file
        return set()
    return {node.name for node in functions if "skip" not in ast.unparse(node)}
