"""examples/demo/run.sh around a stand-in for `sophia`: what it compares, and when it fails."""

import pathlib
import shutil
import subprocess

import pytest

DEMO = pathlib.Path(__file__).resolve().parents[2] / "examples" / "demo"
# Answers none of the rows without an adapter and $RIGHT of them with one.
STAND_IN = """#!/bin/sh
case "$*" in
  train*) echo trained ;;
  *--exact-match*)
    case "$*" in *--adapter*) right=$RIGHT ;; *) right=0 ;; esac
    while [ "$1" != --data ]; do shift; done
    echo "exact match: $right of $(wc -l <"$2") (0.0 %)" ;;
  *) echo '{"task":"x"}' ;;
esac
"""


@pytest.fixture
def tree(tmp_path):
    shutil.copytree(DEMO, tmp_path / "examples" / "demo")
    model = tmp_path / ".deps" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model.parent.mkdir(parents=True)
    model.touch()
    program = tmp_path / "sophia"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return tmp_path


def run(tree, right):
    return subprocess.run([tree / "examples" / "demo" / "run.sh"], capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "SOPHIA": str(tree / "sophia"), "RIGHT": str(right)})


def test_says_which_rows_it_compares(tree):
    result = run(tree, 80)
    assert (result.returncode, result.stderr) == (0, "")
    assert "before   exact match: 0 of 25 (0.0 %), the first 25 rows of the test split" in result.stdout
    assert "after    exact match: 80 of 100 (0.0 %), the whole test split" in result.stdout


def test_fails_below_80_percent(tree):
    result = run(tree, 79)
    assert result.returncode == 1
    assert result.stderr == "demo: expected at least 80 % exact matches after training, got 79 of 100\n"


def test_names_what_is_missing(tree):
    (tree / "sophia").unlink()
    result = run(tree, 100)
    assert result.returncode == 1 and "sophia, got no such file" in result.stderr
