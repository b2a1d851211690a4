"""Kernels of sophia/kernels: each case's outputs and gradients, interpreted, against JAX; the Mosaic text
of every kernel that it calls, evaluated in NumPy, against the interpreted run; mutated texts, which have
to be noticed; golden texts; and libtpu for every TPU generation."""

import json
import os
import pathlib
import re
import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from kernel_mutations import HARMLESS, MUTATIONS, STRUCTURAL, own_lines
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


def operands_of(kernel, tensors):
    return [tensors[f"in/{i}"].astype(eval_mosaic.DTYPES[eval_mosaic.parse_type(text)[1]])
            for i, text in enumerate(kernel["operands"])]  # fmt: skip


def evaluate(folder, file, change=lambda text: text):
    """What the text computes from the operands of the interpreted run, and that run's results."""
    kernel = eval_mosaic.read_kernel(folder / f"{file}.mlir")
    tensors = load_file(folder / f"{file}.safetensors")
    operands = operands_of(kernel, tensors)
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


def visible_blocks(name, tensors, blocks):
    """Which blocks of queries see which blocks of keys: bool [B, query blocks, key blocks]."""
    length = tensors["in/0"].shape[1]
    query, key = np.arange(length)[:, None], np.arange(length)[None, :]
    visible = np.ones((tensors["in/0"].shape[0], length, length), bool)
    if "all_keys" not in name:
        visible &= key <= query
    if "window" in name:
        visible &= key > query - 100
    if "in/3" in tensors:
        segments = tensors["in/3"]
        visible &= segments[:, :, None] == segments[:, None, :]
    queries, keys = ([slice(i, i + size) for i in range(0, length, size)] for size in blocks)
    return np.array([[[np.any(row[i, j]) for j in keys] for i in queries] for row in visible])


def changes(sequence):
    return sum(a != b for a, b in zip(sequence, [None, *sequence[:-1]]))


@pytest.mark.parametrize("name", ["causal", "grouped", "window", "wide_keys", "wide_queries", "segments",
                                  "segments_packed", "window_segments_grouped", "soft_cap_segments",
                                  "columns_ragged"])
def test_flash_fetches_what_is_visible_alone(folder, cases, name):
    """Blocks of keys on their way past queries, and of queries past keys: as many as the mask shows."""
    (case,) = [case for case in cases if case["name"] == f"flash_{name}"]
    tensors = load_file(folder / f"{case['name']}.safetensors")
    batch, _, heads, _ = tensors["in/0"].shape
    kv_heads = tensors["in/1"].shape[2]
    group = heads // kv_heads
    for kernel in case["kernels"]:
        if kernel["name"] == "flash_attention_rows":
            continue
        text = eval_mosaic.read_kernel(folder / f"{kernel['file']}.mlir")
        saved = load_file(folder / f"{kernel['file']}.safetensors")
        operands = operands_of(text, saved)
        bounds = re.findall(r"window_bounds = (array<[^>]*>)", text["text"])
        visible = visible_blocks(name, tensors, [eval_mosaic.int_list(entry)[-2] for entry in bounds[:2]])
        queries, keys = visible.shape[1:]
        if kernel["name"] == "flash_attention_dkv":
            passing = [(b, kv * group + g, i) for b in range(batch) for kv in range(kv_heads) for j in range(keys)
                       for g in range(group) for i in range(queries) if visible[b, i, j]]
            operand = 0
        else:
            passing = [(b, head // group, j) for b in range(batch) for head in range(heads)
                       for i in range(queries) for j in range(keys) if visible[b, i, j]]
            operand = 1
        prefetched = 1 if "in/3" in tensors else 0
        got = eval_mosaic.fetches(text, operands)[prefetched + operand]
        assert got == changes(passing), kernel["file"]
        assert name in ("grouped",) or got < batch * heads * queries * keys, "the mask excludes no block"


def variants(folder, cases):
    """The first case of every kernel with its own set of ops, apart from casts: file, case, text, and the
    numbers of the lines that the kernel's first variant does not have."""
    found, plain = {}, {}
    for case in cases:
        for kernel in case["kernels"]:
            text = (folder / f"{kernel['file']}.mlir").read_text()
            ops = set(re.findall(r'"stable_mosaic\.([\w.]+)"', text)) - {"arith.extf", "arith.truncf"}
            if (kernel["name"], frozenset(ops)) in found:
                continue
            lines = [re.sub(r"%\w+|\d+", "", line) for line in text.splitlines()]
            base = plain.setdefault(kernel["name"], lines)
            places = range(len(lines)) if base is lines else own_lines(base, lines)
            found[kernel["name"], frozenset(ops)] = (kernel["file"], case, text, places)
    return list(found.values())


def test_mutations_are_noticed(folder, cases):
    failures = []
    by_value, by_error = Counter(), Counter()
    for file, case, text, places in variants(folder, cases):
        values = 0
        for mutation, change in MUTATIONS.items():
            mutated = change(text, places)
            if (file, mutation) in HARMLESS or mutated in (None, text):
                continue
            try:
                wrong = compare(folder, case, *evaluate(folder, file, lambda _: mutated))
            except (IndexError, ValueError, eval_mosaic.ir.MLIRError):
                by_error[mutation] += 1
                continue
            values += 1
            by_value[mutation] += 1
            if wrong is None:
                changed = [line.strip() for line in mutated.splitlines() if line not in text]
                failures.append(f"{file}: {mutation}: {changed}")
        if len(places) == len(text.splitlines()) and values < 3:
            failures.append(f"{file}: {values} mutations change numbers, expected at least 3")
    unseen = [m for m in MUTATIONS if not (by_error if m in STRUCTURAL else by_value)[m]]
    assert not failures and not unseen, "\n".join([*failures, f"not noticed in any kernel: {unseen}"])
    # An error of the evaluator tells less than a wrong number.
    assert by_value.total() > 3 * by_error.total(), (by_value, by_error)


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
