"""Every op sample and program against a JAX function written for it: outputs and jax.vjp.

opcheck_dump runs the samples; here each has a row by its name, or the test fails.
"""

import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from opcheck_layers import LAYERS
from opcheck_ops import ROWS as OPS
from opcheck_programs import ROWS as PROGRAMS
from safetensors_reader import read_safetensors

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

BUILD = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", "build"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = ROOT / ".deps" / "plugins" / "pjrt_cpu.so"

# Of the largest expected value.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2.5e-2, "float16": 2e-3}
# A gradient that the engine, but not JAX, rounds to bf16 or f8 on its way.
LOOSE = {"dot_general/bf16": 1.2e-2}

ROWS = {**OPS, **PROGRAMS, **LAYERS}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """{sample: {"in" | "out" | "cotangent" | "grad": arrays}}"""
    path = tmp_path_factory.mktemp("opcheck") / "samples.safetensors"
    subprocess.run([BUILD / "tests" / "opcheck_dump", PLUGIN, path], check=True)
    found = {}
    tensors = read_safetensors(path)
    for name in sorted(tensors, key=lambda name: int(name.rsplit("/", 1)[1])):
        sample, role, _ = name.rsplit("/", 2)
        found.setdefault(sample, {}).setdefault(role, []).append(tensors[name])
    return found


def test_rows_and_samples_are_the_same(samples):
    assert sorted(samples) == sorted(ROWS)


def is_float(array):
    return jnp.issubdtype(array.dtype, jnp.floating)


def check(actual, expected, what, loose=None):
    assert len(actual) == len(expected), what
    for i, (ours, theirs) in enumerate(zip(actual, expected)):
        where = f"{what} {i}"
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), where
        theirs = np.asarray(theirs)
        if not is_float(theirs) or theirs.dtype.itemsize == 1:
            np.testing.assert_array_equal(ours, theirs, where)
            continue
        tolerance = loose or TOLERANCE[theirs.dtype.name]
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        largest = np.max(np.abs(theirs), initial=0, where=np.isfinite(theirs))
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance * largest, err_msg=where)


@pytest.mark.parametrize("name", ROWS)
def test_sample(samples, name):
    sample = samples[name]
    inputs = sample.get("in", [])
    floats = [i for i, array in enumerate(inputs) if is_float(array)]

    @jax.jit
    def run(inputs, cotangents):
        def outputs(*values):
            arguments = list(inputs)
            for i, value in zip(floats, values):
                arguments[i] = value
            leaves = jax.tree.leaves(ROWS[name](*arguments))
            return [leaf for leaf in leaves if is_float(leaf)], leaves

        _, pullback, leaves = jax.vjp(outputs, *(inputs[i] for i in floats), has_aux=True)
        return leaves, pullback(cotangents) if cotangents is not None else ()

    outputs, gradients = run(inputs, sample.get("cotangent", []) if "grad" in sample else None)
    check(sample["out"], outputs, "output", LOOSE.get(name))
    check(sample.get("grad", []), gradients, "gradient", LOOSE.get(name))
