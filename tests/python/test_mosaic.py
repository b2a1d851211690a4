"""Kernels of tests/pallas: the emitted Mosaic text, evaluated in NumPy, against functions written here
and against the interpreted kernel; mutated texts, which have to be noticed; and libtpu for every TPU
generation."""

import os
import pathlib
import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "mosaic"))
import eval_mosaic  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", "build"))
DUMP = BUILD / "tests" / "pallas_dump"
CHIPS = ["v2", "v3", "v4", "v5e", "v5p", "v6e", "tpu7x"]
# Test kernels that a chip is the first to compile.
NEW = {
    "v4": ["matmul_bf16", "narrow_integers", "four_bits", "take_lanes", "dot_bf16"],
    "v5e": ["take_rows", "dot_s8", "stochastic_round"],
}


def f32(x):
    return np.asarray(x, np.float32)


def rmsnorm(x, weight):
    x = f32(x)
    scale = 1 / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-6)
    return [(x * scale * weight).astype(ml_dtypes.bfloat16)]


def scalar_prefetch(index, x, scale):
    blocks = x.reshape(4, 128, 128)[index] * scale[0, 0] + f32(index).reshape(4, 1, 1)
    return [blocks.reshape(512, 128)]


def adam(hyper, gradient, parameter, m, v):
    rate, beta1, beta2, epsilon = hyper[0]
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient * gradient
    return [parameter - rate * m / (np.sqrt(np.abs(v)) + epsilon), m, v]


REFERENCES = {
    "add": lambda a, b: [a + b],
    "matmul_bf16": lambda a, b: [(f32(a) @ f32(b)).astype(ml_dtypes.bfloat16)],
    "matmul_f32_nt": lambda a, b: [a @ b.T],
    "matmul_f32_tn": lambda a, b: [a.T @ b],
    "rmsnorm": rmsnorm,
    "scalar_prefetch": scalar_prefetch,
    "adam": adam,
    "dma_double_buffer": lambda x: [x * 3],
}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    subprocess.run([DUMP, "write", folder], check=True, timeout=60)
    return {path.stem: eval_mosaic.read_kernel(path) for path in folder.glob("*.mlir")}


def error(got, want):
    """The largest error relative to the largest element; infinite for NaN and other shapes."""
    worst = 0.0
    for g, w in zip(got, want, strict=True):
        if g.shape != w.shape or g.dtype != w.dtype:
            return np.inf
        g, w = g.astype(np.float64), w.astype(np.float64)
        difference = np.max(np.abs(g - w)) / np.max(np.abs(w))
        worst = max(worst, np.inf if np.isnan(difference) else difference)
    return worst


def operands_of(kernel):
    return eval_mosaic.random_operands(kernel, np.random.default_rng(11))


def tolerance(kernel):
    return 1e-2 if "bf16" in kernel["text"] else 1e-5


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interpreted")
    subprocess.run([DUMP, "interpret", folder], check=True, timeout=300)
    return {path.stem: load_file(path) for path in folder.glob("*.safetensors")}


# Of the largest element: functions of the two libraries differ, and bf16 may round another way.
LOOSE = {"functions_bf16": 1e-2, "shapes_bf16": 1e-2, "functions_f32": 1e-4, "matmul_bf16": 1e-2,
         "rmsnorm": 1e-2, "reductions": 1e-2}  # fmt: skip


def test_text_equals_interpreted_kernel(kernels, interpreted):
    assert set(interpreted) == set(kernels)
    failures = []
    for name, tensors in sorted(interpreted.items()):
        if name == "random":
            continue
        kernel = kernels[name]
        operands = [
            tensors[f"in/{i}"].astype(eval_mosaic.DTYPES[eval_mosaic.parse_type(text)[1]])
            for i, text in enumerate(kernel["operands"])
        ]
        for i, got in enumerate(eval_mosaic.run(kernel, operands)):
            got, want = f32(got), f32(tensors[f"out/{i}"])
            # Only one kernel reads what is undefined.
            assert np.any(np.isnan(want)) == (name == "undefined"), name
            scale = np.nanmax(np.abs(want)) if not np.all(np.isnan(want)) else 1
            wrong = ~np.isclose(got, want, rtol=0, atol=LOOSE.get(name, 1e-5) * scale, equal_nan=True)
            if np.any(wrong):
                place = tuple(np.argwhere(wrong)[0])
                failures.append(f"{name} out[{i}]: {np.sum(wrong)} elements, {place}: "
                                f"text {got[place]}, interpreted {want[place]}")
    assert not failures, "\n".join(failures)


def test_random_bits_are_uniform(kernels, interpreted):
    """The bits of the two differ; both are whole numbers below 2^24, in two draws."""
    kernel = kernels["random"]
    run = lambda seed: eval_mosaic.run(kernel, [np.full((1, 1), seed, np.int32)])[0]
    text = run(5)
    assert np.array_equal(text, run(5))
    assert np.mean(text == run(6)) < 0.01
    for draws in (text, interpreted["random"]["out/0"]):
        assert draws.shape == (16, 128)
        assert np.all((draws >= 0) & (draws < 2**24) & (draws == np.floor(draws)))
        # Five standard deviations of a mean of 2048.
        assert abs(np.mean(draws) / 2**24 - 0.5) < 5 * np.sqrt(1 / 12 / draws.size)
        assert np.mean(draws[:8] == draws[8:]) < 0.01


@pytest.mark.parametrize("dma", ["early", "late"])
@pytest.mark.parametrize("name", REFERENCES)
def test_text_equals_reference(kernels, name, dma):
    kernel = kernels[name]
    operands = operands_of(kernel)
    assert error(eval_mosaic.run(kernel, operands, dma), REFERENCES[name](*operands)) < tolerance(kernel)


# What to change in the text, and in which kernel.
MUTATIONS = [
    ("add", r"arith\.addf", "arith.subf"),
    ("add", r"window_bounds = array<i64: 32, 256>}]", "window_bounds = array<i64: 64, 256>}]"),
    ("add", r"iteration_bounds = array<i64: 2>", "iteration_bounds = array<i64: 1>"),
    ("add", r"iteration_bounds = array<i64: 2>", "iteration_bounds = array<i64: 3>"),
    ("matmul_bf16", r"cmpi\"\(%2, %c0\) {predicate = 0", 'cmpi"(%2, %c0) {predicate = 1'),
    ("matmul_f32_nt", r"<\[1\], \[1\], \[0\], \[0\], \[0, 0, 1, 0\]", "<[1], [0], [0], [1], [0, 0, 1, 1]"),
    ("matmul_f32_tn", r"\(%2, %1\) : \(i32, i32\) -> \(\)", "(%2, %0) : (i32, i32) -> ()"),
    ("rmsnorm", r"math\.rsqrt", "math.sqrt"),
    ("rmsnorm", r"9\.99999997e-07", "1.0e-01"),
    ("scalar_prefetch", r"arith\.addf", "arith.mulf"),
    ("adam", r"math\.sqrt", "math.exp"),
    ("dma_double_buffer", r"3\.00000000e\+00", "2.0e+00"),
    ("dma_double_buffer", r"arith\.remsi", "arith.divsi"),
]  # fmt: skip


@pytest.mark.parametrize("name,pattern,replacement", MUTATIONS)
def test_mutation_is_noticed(kernels, name, pattern, replacement):
    kernel = kernels[name]
    text, count = re.subn(pattern, replacement.replace("\\", r"\\"), kernel["text"], count=1)
    assert count == 1, "the text no longer has what the mutation changes"
    operands = operands_of(kernel)
    try:
        got = eval_mosaic.run({**kernel, "text": text}, operands)
    except (IndexError, ValueError, ir_error()):
        return
    assert not error(got, REFERENCES[name](*operands)) < tolerance(kernel)


def ir_error():
    return eval_mosaic.ir.MLIRError


def test_forgotten_wait_is_noticed(kernels):
    kernel = kernels["dma_double_buffer"]
    lines = kernel["text"].splitlines()
    wait = next(i for i, line in enumerate(lines) if "tpu.wait_dma2" in line)
    text = "\n".join(lines[:wait] + lines[wait + 1 :])
    with pytest.raises(ValueError, match="never waited for"):
        eval_mosaic.run({**kernel, "text": text}, operands_of(kernel), "late")


@pytest.mark.parametrize("chip", CHIPS)
def test_libtpu_compiles(kernels, chip):
    result = subprocess.run([DUMP, "compile", chip], text=True, timeout=300,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    failures = [line for line in result.stdout.splitlines() if not line.endswith(" ok")]
    assert not failures, "\n".join(failures)
    missing = {name for other, names in NEW.items() for name in names
               if CHIPS.index(chip) < CHIPS.index(other)}
    assert set(re.findall(r"^(\w+) ok$", result.stdout, re.M)) == set(kernels) - missing


def line_of(text):
    """`file:line` of the one line of the refused kernels that holds the text."""
    path = ROOT / "tests" / "pallas" / "refused_kernels.cc"
    (line,) = [i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line]
    return f"{path.name}:{line}"


@pytest.mark.parametrize("chip", ["v2", "v5e"])
def test_libtpus_errors_name_the_kernels_line(chip):
    output = subprocess.run([DUMP, "refused", chip], text=True, timeout=300, check=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout  # fmt: skip
    reshape, spills = output.splitlines()
    line = line_of("odd_reshape is refused here")
    assert reshape.startswith(f"odd_reshape [{line}] kernel 'odd_reshape': expected what libtpu compiles, got: "
                              "infer-vector-layout: unsupported shape cast in "), reshape
    # Of the call, since the whole kernel is too large.
    assert re.search(r"^spills \[\S+tests/pallas/pallas_dump_main\.cc:\d+\] kernel 'spills': expected at most "
                     r"16\.00M of VMEM, got \d+\.\d+M ", spills), spills
