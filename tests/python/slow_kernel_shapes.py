"""Every kernel with its default plan at the shapes of published models, compiled by libtpu for every TPU
generation: each pair in a process of its own, since libtpu can die."""

import os
import pathlib
import subprocess

import pytest

DUMP = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", "build")) / "tests" / "kernels_dump"
CHIPS = ["v2", "v3", "v4", "v5e", "v5p", "v6e", "tpu7x"]
MODELS = ["variants", "SmolLM2-135M", "Llama-3.2-1B", "Llama-3.1-8B", "Qwen3-8B", "Gemma-3-1B", "Gemma-3-4B"]


def test_models_are_those_of_the_program():
    assert subprocess.check_output([DUMP, "shapes"], text=True).split() == MODELS


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("chip", CHIPS)
def test_libtpu_compiles(chip, model):
    result = subprocess.run([DUMP, "shapes", chip, model], text=True, timeout=1800,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    failures = [line for line in result.stdout.splitlines() if not line.endswith(" ok")]
    assert result.stdout and not failures, "\n".join(failures)
