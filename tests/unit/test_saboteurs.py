"""The table of saboteurs stays in step with the code, and its runner tells a noticed fault from an unnoticed one."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from config import PROJECT_ROOT
from tests.saboteurs.__main__ import KILLED, SURVIVED, judge, run_tests
from tests.saboteurs.table import SABOTEURS, Saboteur, put_in


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=lambda saboteur: saboteur.name)
def test_each_saboteur_has_its_place_and_its_test(saboteur: Saboteur) -> None:
    text = (PROJECT_ROOT / saboteur.file).read_text(encoding="utf-8")
    spoilt = ast.dump(ast.parse(put_in(saboteur, text)))  # it runs: a fault of syntax would prove nothing
    assert spoilt != ast.dump(ast.parse(text))
    file, _, test = saboteur.test.partition("::")
    assert f"\ndef {test.partition('[')[0]}(" in (PROJECT_ROOT / file).read_text(encoding="utf-8")


def test_there_are_many_saboteurs_each_with_a_name_of_its_own() -> None:
    assert len(SABOTEURS) >= 35
    assert max(Counter(saboteur.name for saboteur in SABOTEURS).values()) == 1


@pytest.mark.parametrize("old", ["x = 0", "return"])
def test_a_place_that_is_missing_or_not_alone_is_refused(old: str) -> None:
    with pytest.raises(ValueError, match="not once"):
        put_in(Saboteur("a fault", "code.py", old, "y = 0", "test.py::test"), "return 1\nreturn 2\n")


CODE = "def add(a, b):\n    return a + b\n"
TESTS = """
import pytest
from code_under_test import add

def test_zero():
    assert add(2, 0) == 2

def test_one():
    assert add(2, 1) == 3

@pytest.mark.skip(reason="not here")
def test_skipped():
    assert add(2, 1) == 3
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project of two files."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "code_under_test.py").write_text(CODE)
    (root / "test_code.py").write_text(TESTS)
    return root


@pytest.mark.parametrize(
    ("test", "verdict"), [("test_one", KILLED), ("test_zero", SURVIVED), ("test_missing", "BROKEN 4")]
)
def test_a_fault_is_killed_by_a_test_that_turns_red(tree: Path, test: str, verdict: str) -> None:
    saboteur = Saboteur("minus", "code_under_test.py", "a + b", "a - b", f"test_code.py::{test}")
    found, ended = judge(saboteur, tree)
    assert found == verdict, ended.output
    assert (tree / "code_under_test.py").read_text() == CODE
    assert sorted(path.name for path in tree.iterdir()) == ["code_under_test.py", "pytest.ini", "test_code.py"]


def test_only_tests_that_ran_and_passed_are_green(tree: Path) -> None:
    assert run_tests(tree, ["test_code.py::test_one"], limit_s=60).is_green
    assert not run_tests(tree, ["test_code.py::test_one", "test_code.py::test_skipped"], limit_s=60).is_green
    assert not run_tests(tree, ["test_code.py::test_missing"], limit_s=60).is_green
