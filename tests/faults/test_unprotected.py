"""Protections are taken away and put back as told, and every one of them is documented."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.protection import Edit, Protection
from tests.faults.protections import PROTECTIONS
from tests.faults.schedule import ALL
from tests.faults.unprotected import ROOT, look, without

TABLE = (ROOT / "docs" / "reliability.md").read_text()


@pytest.fixture
def tree(tmp_path):
    """A tree with one protection, and tests that need it and that do not."""
    (tmp_path / "guard.py").write_text("LIMIT = 3\n")
    (tmp_path / "test_guard.py").write_text(
        "import guard\n"
        "def test_there_is_a_limit():\n    assert guard.LIMIT == 3\n"
        "def test_something_else():\n    pass\n"
    )
    return tmp_path


def limit(test):
    edits = (Edit("guard.py", "LIMIT = 3", "LIMIT = 99"),)
    return Protection("limit", edits, (f"test_guard.py::{test}",))


def test_a_test_that_needs_the_protection_notices(tree):
    finding = look(tree, limit("test_there_is_a_limit"))

    assert finding.is_noticed
    assert "assert 99 == 3" in finding.said[0]


def test_a_test_that_passes_all_the_same_notices_nothing(tree):
    assert not look(tree, limit("test_something_else")).is_noticed


def test_of_several_tests_every_one_has_to_notice(tree):
    one, other = limit("test_there_is_a_limit"), limit("test_something_else")

    finding = look(tree, replace(one, tests=one.tests + other.tests))

    assert not finding.is_noticed
    assert finding.said[1:] == ["PASSED test_guard.py::test_something_else"]


def test_a_test_that_does_not_exist_notices_nothing(tree):
    assert not look(tree, limit("test_that_was_renamed")).is_noticed


def test_the_tree_is_as_before_whatever_happens(tree):
    guard, seen = tree / "guard.py", []

    def interrupted():
        with without(tree, limit("any").edits):
            seen.append(guard.read_text())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert seen == ["LIMIT = 99\n"]
    assert guard.read_text() == "LIMIT = 3\n"


def test_an_edit_that_does_not_fit_any_more_is_told(tree):
    with pytest.raises(ValueError, match=r"^guard.py must have 'LIMIT = 4' once$"):
        without(tree, (Edit("guard.py", "LIMIT = 4", ""),)).__enter__()


@pytest.mark.parametrize("name", PROTECTIONS)
def test_every_protection_is_where_it_is_said_to_be(name):
    places = [(ROOT / edit.path).read_text().count(edit.old) for edit in PROTECTIONS[name].edits]

    assert places == [1] * len(places)


@pytest.mark.parametrize("name", PROTECTIONS)
def test_the_tests_of_every_protection_exist(name):
    tests = PROTECTIONS[name].tests

    missing = [test for test in tests if not exists(test)]

    assert tests
    assert missing == []


def test_every_protection_has_its_row_and_every_row_its_protection():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|.*\|.*\|$", TABLE, re.M)

    assert sorted(rows) == sorted(PROTECTIONS)


def test_every_class_of_faults_is_documented():
    assert [name for name in ALL if f"`{name}`" not in TABLE] == []


def exists(test):
    path, _, name = test.partition("[")[0].partition("::")
    if not (Path(ROOT) / path).is_file():
        return False
    body = ast.parse((ROOT / path).read_text()).body
    names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return not name or name in names
