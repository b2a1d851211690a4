"""Kernels of sophia/kernels: each case's outputs and gradients, interpreted, against JAX; the Mosaic text
of every kernel that it calls, evaluated in NumPy, against the interpreted run; mutated texts, which have
to be noticed; golden texts; and libtpu for every TPU generation."""

import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from kernel_references import REFERENCES
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "mosaic"))
import eval_mosaic  # noqa: E402

jax.config.update("jax_platforms", "cpu")

BUILD = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", "build"))
DUMP = BUILD / "tests" / "kernels_dump"
GOLDEN = ROOT / "tests" / "fixtures" / "kernels"
CHIPS = ["v2", "v3", "v4", "v5e", "v5p", "v6e", "tpu7x"]
DTYPES = {"bf16": ml_dtypes.bfloat16, "f32": np.float32, "f8e4m3fn": ml_dtypes.float8_e4m3fn,
          "s32": np.int32, "u32": np.uint32, "s8": np.int8, "u8": np.uint8, "s4": ml_dtypes.int4,
          "u4": ml_dtypes.uint4}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    subprocess.run([DUMP, "write", folder], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def cases(folder):
    return json.loads((folder / "cases.json").read_text())["cases"]


def numbered(tensors, kind):
    """{index: array} of the tensors called kind/index."""
    return {int(name.split("/")[1]): x for name, x in tensors.items() if name.startswith(kind + "/")}


def reference_of(name):
    prefixes = [prefix for prefix in REFERENCES if name.startswith(prefix)]
    assert prefixes, f"no reference for case {name} in kernel_references.py"
    return REFERENCES[max(prefixes, key=len)]


def mistakes(got, want, tolerance, largest):
    """Describes the first element off by more than `tolerance` of the largest; None if there is none.
    A result that vanishes but for rounding is compared on the scale `largest`."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    own = np.max(np.abs(want), initial=0)
    scale = own if own > 1e-4 * largest else largest
    wrong = ~(np.abs(got - want) <= tolerance * scale)
    if not np.any(wrong):
        return None
    place = tuple(np.argwhere(wrong)[0])
    return f"{np.sum(wrong)} elements, at {place} {got[place]}, expected {want[place]}"


def flat_sin(shape):
    return np.sin(np.arange(np.prod(shape), dtype=np.float64)).astype(np.float32).reshape(shape)


def test_cases_equal_jax(folder, cases):
    failures = []
    for case in cases:
        tensors = load_file(folder / f"{case['name']}.safetensors")
        inputs = [jnp.asarray(x.astype(DTYPES[dtype]))
                  for (_, x), dtype in zip(sorted(numbered(tensors, "in").items()), case["inputs"], strict=True)]
        grads = numbered(tensors, "grad")
        reference = reference_of(case["name"])

        def function(*active):
            values = list(inputs)
            for place, value in zip(sorted(grads), active):
                values[place] = value
            outputs = reference(*values)
            floats = [x for x in outputs if jnp.issubdtype(x.dtype, jnp.floating)]
            return floats, outputs

        floats, pullback, outputs = jax.vjp(function, *(inputs[i] for i in sorted(grads)), has_aux=True)
        wanted_grads = pullback([jnp.asarray(flat_sin(x.shape)).astype(x.dtype) for x in floats])
        wanted = {f"out/{i}": x for i, x in enumerate(outputs)}
        wanted |= {f"grad/{i}": x for i, x in zip(sorted(grads), wanted_grads)}
        assert set(wanted) == {name for name in tensors if not name.startswith("in/")}, case["name"]
        largest = max(float(jnp.max(jnp.abs(x.astype(jnp.float32)))) for x in wanted.values())
        for name, want in wanted.items():
            # The cotangents come from two libraries' sines.
            tolerance = max(case["tolerance"], 1e-6) if name.startswith("grad/") else case["tolerance"]
            exact = want if jnp.issubdtype(want.dtype, jnp.integer) else want.astype(jnp.float32)
            wrong = mistakes(tensors[name], exact, tolerance, largest)
            if wrong:
                failures.append(f"{case['name']} {name}: {wrong}")
    assert not failures, "\n".join(failures)


def evaluate(folder, file, change=lambda text: text):
    """What the text computes from the operands of the interpreted run, and that run's results."""
    kernel = eval_mosaic.read_kernel(folder / f"{file}.mlir")
    tensors = load_file(folder / f"{file}.safetensors")
    operands = [tensors[f"in/{i}"].astype(eval_mosaic.DTYPES[eval_mosaic.parse_type(text)[1]])
                for i, text in enumerate(kernel["operands"])]  # fmt: skip
    got = eval_mosaic.run({**kernel, "text": change(kernel["text"])}, operands)
    return got, [tensors[f"out/{i}"] for i in range(len(got))]


def compare(folder, case, got, want):
    tensors = load_file(folder / f"{case['name']}.safetensors")
    largest = max(np.max(np.abs(x)) for name, x in tensors.items() if not name.startswith("in/"))
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        wrong = mistakes(g, w, case["tolerance"], largest)
        if wrong:
            return f"out/{i}: {wrong}"
    return None


def test_texts_equal_interpreted_kernels(folder, cases):
    failures = []
    for case in cases:
        for kernel in case["kernels"]:
            wrong = compare(folder, case, *evaluate(folder, kernel["file"]))
            if wrong:
                failures.append(f"{kernel['file']} {wrong}")
    assert not failures, "\n".join(failures)


# Each is applied where it first fits, to the first case of every kernel.
MUTATIONS = [
    (r"arith\.subf", "arith.addf"),
    (r"arith\.mulf", "arith.addf"),
    (r"arith\.addf", "arith.subf"),
    (r"arith\.divf", "arith.mulf"),
    (r"math\.exp\b", "math.exp2"),
    (r"math\.rsqrt", "math.sqrt"),
    (r"kind<maximumf>", "kind<minimumf>"),
    (r"kind<add>", "kind<maximumf>"),
    (r"value = dense<([1-9])", r"value = dense<-\1"),
    (r"arith\.addi", "arith.subi"),
    (r"predicate = 0", "predicate = 1"),
    (r"predicate = 2", "predicate = 4"),
    (r"arith\.xori", "arith.ori"),
    (r"iteration_bounds = array<i64: 1, ", "iteration_bounds = array<i64: 2, "),
]
# (kernel, pattern) that a kernel computes the same without, and why.
HARMLESS = {
    ("rotary", r"value = dense<([1-9])"): "a remainder has the sign of what is divided",
}


def test_mutations_are_noticed(folder, cases):
    first = {}
    for case in cases:
        for kernel in case["kernels"]:
            first.setdefault(kernel["name"], (kernel["file"], case))
    failures = []
    for name, (file, case) in sorted(first.items()):
        applied = 0
        for pattern, replacement in MUTATIONS:
            text = (folder / f"{file}.mlir").read_text()
            if not re.search(pattern, text) or (name, pattern) in HARMLESS:
                continue
            applied += 1
            change = lambda text: re.sub(pattern, replacement, text, count=1)
            try:
                wrong = compare(folder, case, *evaluate(folder, file, change))
            except (IndexError, ValueError, eval_mosaic.ir.MLIRError):
                continue
            if wrong is None:
                failures.append(f"{file}: {pattern} -> {replacement}")
        if applied < 3:
            failures.append(f"{file}: only {applied} mutations fit, expected at least 3")
    assert not failures, "\n".join(failures)


def test_texts_are_golden(folder):
    """tests/fixtures/kernels holds texts as `kernels_dump write` wrote them; copy what changed on purpose."""
    if json.loads((folder / "cases.json").read_text())["compiler"] != "GNU":
        pytest.skip("another compiler than GCC evaluates operands in another order")
    golden = sorted(GOLDEN.glob("*.mlir"))
    assert golden
    changed = [path.name for path in golden if path.read_bytes() != (folder / path.name).read_bytes()]
    assert not changed, f"texts differ from those in {GOLDEN}: {', '.join(changed)}"


@pytest.mark.parametrize("chip", CHIPS)
def test_libtpu_compiles(chip):
    result = subprocess.run([DUMP, "compile", chip], text=True, timeout=600,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    failures = [line for line in result.stdout.splitlines() if not line.endswith(" ok")]
    assert result.stdout and not failures, "\n".join(failures)
