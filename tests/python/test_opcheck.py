"""Every op sample and program against a JAX function written for it: outputs and jax.vjp.

opcheck_dump runs the samples; here each has a row by its name, or the test fails.
"""

import json
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax
from opcheck_layers import LAYERS

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

BUILD = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", "build"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = ROOT / ".deps" / "plugins" / "pjrt_cpu.so"

DTYPES = {
    "BOOL": np.bool_, "I8": np.int8, "U8": np.uint8, "I16": np.int16, "U16": np.uint16,
    "I32": np.int32, "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16,
    "F32": np.float32, "F64": np.float64, "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
JAX_TYPES = {
    "bool": jnp.bool_, "s8": jnp.int8, "u8": jnp.uint8, "s32": jnp.int32, "u16": jnp.uint16,
    "u32": jnp.uint32, "bf16": jnp.bfloat16, "f16": jnp.float16, "f32": jnp.float32,
    "f8e4m3fn": jnp.float8_e4m3fn, "f8e5m2": jnp.float8_e5m2,
}  # fmt: skip
# Of the largest expected value.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2.5e-2, "float16": 2e-3}
# A gradient that the engine, but not JAX, rounds to bf16 or f8 on its way.
LOOSE = {"dot_general/bf16": 1.2e-2}

ROWS = {}


def rows(names, function):
    for name in names:
        assert name not in ROWS
        ROWS[name] = function


def typed(name, dtypes, function):
    """The op's own sample and those of further element types."""
    rows([name] + [f"{name}/{dtype}" for dtype in dtypes], function)


def broadcast(function):
    return lambda *operands: function(*jnp.broadcast_arrays(*operands))


# Creation
rows(["constant"], lambda: [jnp.array([[1, 2.5], [-3, 0]], jnp.float32),
                            jnp.array([1, -2, 3], jnp.int32)])
rows(["full"], lambda: [jnp.full((2, 3), 0.1, jnp.float32), jnp.full((2,), 3.14159, jnp.bfloat16),
                        jnp.array(-jnp.inf, jnp.float32), jnp.full((2,), -7, jnp.int32),
                        jnp.full((2,), True)])
rows(["iota"], lambda: [lax.broadcasted_iota(jnp.int32, (3, 4), 1),
                        lax.broadcasted_iota(jnp.float32, (3, 4), 0)])

# Elementwise
for op, function in {
    "cbrt": jnp.cbrt, "ceil": jnp.ceil, "cos": jnp.cos, "exp": jnp.exp, "expm1": jnp.expm1,
    "floor": jnp.floor, "is_finite": jnp.isfinite, "log": jnp.log, "log1p": jnp.log1p,
    "logistic": jax.nn.sigmoid, "round_nearest_even": jnp.round, "rsqrt": lax.rsqrt,
    "sin": jnp.sin, "sqrt": jnp.sqrt, "tanh": jnp.tanh,
}.items():  # fmt: skip
    typed(op, ["bf16"], function)
typed("abs", ["bf16", "s32"], jnp.abs)
typed("neg", ["bf16", "s32"], jnp.negative)
typed("sign", ["bf16", "s32"], jnp.sign)
typed("not", ["u8", "bool"], jnp.invert)

NUMBERS = ["bf16", "f16", "s32", "u8", "broadcast"]
for op, function in {
    "add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": broadcast(lax.div),
    "rem": broadcast(lax.rem), "max": jnp.maximum, "min": jnp.minimum,
}.items():  # fmt: skip
    typed(op, NUMBERS, function)
for op, function in {"pow": broadcast(lax.pow), "atan2": jnp.arctan2}.items():
    typed(op, ["bf16", "f16", "broadcast"], function)
for op, function in {"and": jnp.bitwise_and, "or": jnp.bitwise_or, "xor": jnp.bitwise_xor}.items():
    typed(op, ["u8", "bool", "broadcast"], function)
for op, function in {
    "shift_left": lax.shift_left, "shift_right_logical": lax.shift_right_logical,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
}.items():  # fmt: skip
    typed(op, ["u32", "u8", "broadcast"], broadcast(function))
rows(["div/signs"], lambda a, b: lax.div(a, jnp.where(b == 0, 1, b)))
rows(["rem/signs"], lambda a, b: lax.rem(a, jnp.where(b == 0, 1, b)))
rows(["max/ties", "min/ties"], lambda x: 1 * x)
for op, function in {
    "eq": jnp.equal, "ne": jnp.not_equal, "lt": jnp.less, "le": jnp.less_equal,
    "gt": jnp.greater, "ge": jnp.greater_equal,
}.items():  # fmt: skip
    rows([f"compare/{op}/{dtype}" for dtype in ("f32", "bf16", "s32", "u32", "u8", "bool")],
         function)
rows(["select"], lambda p, a, b: jnp.where(p > 0, a, b))
rows(["select/s32"], lambda a, b: jnp.where(a < b, a, 7))
rows(["clamp", "clamp/bf16"], lambda x: lax.clamp(jnp.array(-0.5, x.dtype), x,
                                                  jnp.array(0.75, x.dtype)))
rows(["clamp/s32"], lambda x: jnp.clip(x, -3, 4))
rows(["clamp/bounds"], lambda low, x, high: lax.clamp(
    low * 0.2 - 0.5, x, jnp.broadcast_to(high * 0.2 + 0.5, x.shape)))

# Shape
for name in [
    "f32/bf16", "f32/f16", "f32/s32", "f32/s8", "f32/bool", "f32/f8e4m3fn", "f32/f8e5m2",
    "s32/f32", "s32/u8", "s32/bool", "u8/bf16", "bool/f32", "u8/s32", "bf16/f32", "bf16/f16",
    "f16/bf16", "f8e4m3fn/bf16", "f8e5m2/f32",
]:  # fmt: skip
    rows([f"convert/{name}"], lambda x, to=JAX_TYPES[name.split("/")[1]]: x.astype(to))
for name in ["f32/s32", "u32/u8", "u8/u16"]:
    rows([f"bitcast_convert/{name}"],
         lambda x, to=JAX_TYPES[name.split("/")[1]]: lax.bitcast_convert_type(x, to))
rows(["broadcast_in_dim"], lambda x: jnp.broadcast_to(x, (2, 3, 4)))
rows(["broadcast_in_dim/bf16"], lambda x: jnp.broadcast_to(x, (2, 4, 3)))
rows(["broadcast_in_dim/scalar"], lambda x: jnp.broadcast_to(x, (2, 3)))
rows(["reshape"], lambda x: x.reshape(3, 4))
rows(["transpose"], lambda x: jnp.transpose(x, (2, 0, 1)))
rows(["reverse"], lambda x: x[::-1, :, ::-1])
rows(["concatenate"], lambda a, b, c: jnp.concatenate([a, b, c], 1))
rows(["concatenate/s32"], lambda a, b: jnp.concatenate([a, b, a]))
rows(["pad"], lambda x, v: lax.pad(x, v, [(1, 0, 0), (0, 2, 1)]))
rows(["pad/interior_negative"], lambda x, v: lax.pad(x, v, [(-2, 1, 1), (2, -3, 2)]))
rows(["pad/u8"], lambda x: lax.pad(x, np.uint8(9), [(1, 2, 1)]))
rows(["pad/negative"], lambda x: jnp.pad(x[1:, :3], ((0, 1), (2, 0))))

# Slices
rows(["slice"], lambda x: x[1:3, 0:6:2])
rows(["slice/axis"], lambda x: x[:, 2:5])
rows(["dynamic_slice"], lambda x: x[1:3, 3:6])
rows(["dynamic_slice/clamped"], lambda x: x[2:4, 0:3])
rows(["dynamic_update_slice"], lambda x, u: x.at[1:3, 3:6].set(u))
rows(["dynamic_update_slice/clamped"], lambda x, u: x.at[0:2, 4:7].set(u))
rows(["dynamic_update_slice/bf16"], lambda x, u: x.at[2:4, 0:3].set(u))
rows(["dynamic_update_slice/s32"], lambda x, u: x.at[0:2, 4:7].set(u))

# Gather and scatter
ROW_INDICES = np.array([2, 0, 2])
BATCH_INDICES = np.array([[0, 4, 2, 4], [3, 3, 1, 0]])
rows(["gather/take0", "gather/bf16"], lambda x: x[ROW_INDICES])
rows(["gather/take1"], lambda x: jnp.take(x, ROW_INDICES[:, None], axis=1))
rows(["gather/take_along_axis"], lambda x: x[np.arange(3), ROW_INDICES][:, None])
rows(["gather/windows"],
     lambda x: jnp.stack([x[i:i + 2, j:j + 2] for i, j in ((0, 1), (2, 3), (2, 3))]))
rows(["gather/batching"], lambda x: jnp.stack([x[b][BATCH_INDICES[b]] for b in range(2)]))
rows(["scatter/add", "scatter/add_s32"], lambda x, u: x.at[ROW_INDICES].add(u))
rows(["scatter/set"], lambda x, u: x.at[np.array([3, 1])].set(u))
rows(["scatter/add_batching"], lambda x, u: x.at[np.arange(2)[:, None], BATCH_INDICES].add(u))


@lambda function: rows(["scatter/add_windows"], function)
def _(x, updates):
    for k, (i, j) in enumerate(((0, 1), (2, 3), (1, 2))):
        x = x.at[i:i + 2, j:j + 2].add(updates[k])
    return x


# Reductions
def reductions(function):
    return lambda x: [function(x, axis=(0, 2)), function(x, axis=1, keepdims=True),
                      function(x, axis=(0, 1, 2))]


typed("reduce_sum", ["bf16", "s32"],
      reductions(lambda x, **kwargs: jnp.sum(x, dtype=x.dtype, **kwargs)))
typed("reduce_prod", ["bf16", "s32"],
      reductions(lambda x, **kwargs: jnp.prod(x, dtype=x.dtype, **kwargs)))
typed("reduce_max", ["bf16", "s32"], reductions(jnp.max))
typed("reduce_min", ["bf16", "s32"], reductions(jnp.min))
rows(["reduce_max/ties", "reduce_min/ties"], lambda x: 1 * x)
rows(["reduce_and"], reductions(jnp.all))
rows(["reduce_or"], reductions(jnp.any))

# Dot, sort, random bits
rows(["dot_general/matmul"], lambda a, b: a @ b)
rows(["dot_general/transposed"], lambda a, b: jnp.einsum("abk,nk->abn", a, b))
rows(["dot_general/batched"], lambda a, b: jnp.einsum("kbim,bjknm->bijn", a, b))
rows(["dot_general/free_dims"], lambda a, b: jnp.einsum("abk,ckd->abcd", a, b))
rows(["dot_general/contract_order"], lambda a, b: jnp.einsum("kalb,lckd->abcd", a, b))
rows(["dot_general/batch_order"], lambda a, b: jnp.einsum("ambk,bkna->bamn", a, b))
rows(["dot_general/outer"], lambda a, b: jnp.einsum("a,bc->abc", a, b))
rows(["dot_general/narrow"],
     lambda a, b: [a @ b, lax.dot(a, b, preferred_element_type=jnp.float32)])
rows(["dot_general/s8"], lambda a, b: lax.dot(a, b, preferred_element_type=jnp.int32))
rows(["dot_general/bf16"], lambda a, b: lax.dot(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16),
                                                preferred_element_type=jnp.float32))
rows(["sort"], lambda x: jnp.sort(x, axis=0))
rows(["sort/s32"], lambda a, b: lax.sort((a, b), num_keys=1))
rows(["sort/argsort"], lambda x: jnp.argsort(x, stable=True).astype(jnp.int32))


@lambda function: rows(["sort/descending_pair"], function)
def _(a, b):
    order = jnp.argsort(-a, axis=-1)
    return [jnp.take_along_axis(x, order, -1) for x in (a, b)]


rows(["rng_bit_generator"],
     lambda: lax.rng_bit_generator(jnp.array([7, 11], jnp.uint64), (5,), jnp.uint32,
                                   lax.RandomAlgorithm.RNG_THREE_FRY))

# Identities
rows(["stop_gradient"], lambda x: x * lax.stop_gradient(x))
rows(["checkpoint_name"], lambda x: x * x)
rows(["custom_vjp"], lambda x, w: jnp.sin(x) * w)
rows(["optimization_barrier"], lambda a, b: [a, b])
rows(["sharding_constraint", "custom_call"], lambda x: x)

# Control
rows(["while"], lambda x: [jnp.int32(4), x * 1.5**4])
rows(["while/closure"], lambda x, y: [
    lax.while_loop(lambda s: jnp.sum(s) < 20 * jnp.sum(y * y), lambda s: s * 2 + y, x)])
rows(["case"], lambda a, b: a * b)
rows(["case/three"], lambda a, b: [jnp.sin(a), b] + 2 * [a * b, jnp.exp(b)])
rows(["call"], lambda a, b: jnp.sin(jnp.sin(a) * b) * a)


def scan_sample(reverse):
    def body(carry, xs):
        x, y = xs
        after = jnp.sin(carry * x) + y
        return after, after * carry

    return lambda init, x, y: lax.scan(body, init, (x, y), reverse=reverse)


rows(["scan", "scan/remat"], scan_sample(False))
rows(["scan/reverse"], scan_sample(True))
rows(["scan/closure"], lambda init, x, y: lax.scan(
    lambda carry, xs: (carry * jnp.sin(init) + xs[0], xs[1] * jnp.sin(init)), init, (x, y)))


# Programs
def step(x, w):
    product = jnp.sin(x * w)
    return jnp.tanh(product + x) * product


def scan_of(function, x, stack):
    def body(carry, w):
        after = function(carry, w)
        return after, after * carry

    return lax.scan(body, x, stack)


def policies(name, function):
    rows([f"program/{name}/{policy}" for policy in ("everything", "nothing", "named")], function)


def grad_of(function):
    return jax.grad(function, argnums=(0, 1))


def cubic(x, w):
    return jnp.sum(jnp.sin(x) * x * x * w)


def scanned(x, stack):
    carry, ys = scan_of(step, x, stack)
    return jnp.sum(carry * carry) + jnp.sum(ys)


def recomputed(x, stack):
    carry, ys = scan_of(step, x, stack)
    return jnp.sum(carry * ys)


rows(["program/second_derivative"], grad_of(cubic))
rows(["program/third_derivative"], grad_of(lambda x, w: jnp.sum(jax.grad(cubic)(x, w) * x)))
rows(["program/second_derivative/scan"], grad_of(scanned))
rows(["program/second_derivative/remat"], grad_of(recomputed))
rows(["program/second_derivative/custom_vjp"],
     grad_of(lambda x, w: jnp.sum((jnp.sin(x) * w) ** 2)))
rows(["program/second_derivative/custom_vjp_scan"],
     grad_of(lambda x, stack: jnp.sum(
         scan_of(lambda h, w: (jnp.sin(h) * w) ** 2, x, stack)[0])))
rows(["program/second_derivative/checkpoint"],
     grad_of(lambda x, w: jnp.sum(step(step(x, w), w))))
rows(["program/second_derivative/stop_gradient"],
     grad_of(lambda x, w: jnp.sum(lax.stop_gradient(x * x) * x * w)))


def step_twice(x, w):
    return step(step(step(x, w), w), x)


policies("checkpoint", lambda x, w: [step(step(x, w) * w, w), step(x, w)])
policies("nested_checkpoint", lambda x, w: step_twice(step_twice(x, w), w))
policies("scan_in_checkpoint",
         lambda x, stack: scan_of(lambda h, w: step(h * jnp.sin(x), w), x, stack))
policies("checkpoint_in_scan",
         lambda x, stack: scan_of(lambda h, w: step(jnp.exp(step(h, w)), w), x, stack))
policies("custom_vjp_in_scan",
         lambda x, stack: scan_of(lambda h, w: step(jnp.sin(h) * w, w), x, stack))


@lambda function: policies("case_in_scan", function)
def _(x, stack):
    def body(carry, w):
        h = step(carry, w)
        return jnp.where(jnp.sum(w) > 0, jnp.sin(h) * w, h * carry), h

    return lax.scan(body, x, stack)


@lambda function: policies("call_in_scan", function)
def _(x, stack):
    def body(carry, w):
        once = step(carry, w)
        return step(once, w), once

    return lax.scan(body, x, stack)


@lambda function: policies("nested_scan", function)
def _(x, stacks):
    def body(carry, stack):
        after, ys = scan_of(lambda h, w: step(h * jnp.sin(carry), w), carry, stack)
        return after, jnp.sum(ys, 0)

    return lax.scan(body, x, stacks)


rows(["program/scan/xs_only"], lambda x, stack: jax.vmap(lambda w: step(w, x))(stack))
rows(["program/scan/carry_only"],
     lambda x: lax.fori_loop(0, 5, lambda _, carry: jnp.sin(carry) * 1.5, x))
rows(["program/scan/invariant_carry"],
     lambda x, w, stack: (lax.scan(lambda h, y: (step(h, w) + y, None), x, stack)[0], w,
                          jnp.broadcast_to(jnp.sin(w), (4, 3))))


@lambda function: rows(["program/scan/integer_carry"], function)
def _(x, stack):
    for i in range(4):
        x = jnp.sin(x) * stack[i] + i
    return [x, jnp.int32(4), jnp.arange(4, dtype=jnp.int32)]


@lambda function: rows(["program/grad_accumulation"], function)
def _(w, stack):
    losses, grads = jax.vmap(
        lambda x: jax.value_and_grad(lambda w: jnp.sum(step(w, x) * w))(w))(stack)
    return [jnp.sum(grads, 0), losses]


def rms_norm(x, weight):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * weight


def transformer_layer(x, norms, query, key, value, output, gate, up, down, a, b):
    def heads(y):
        return y.reshape(*y.shape[:2], 2, 4)

    h = rms_norm(x, norms[0])
    q = heads(h @ query + 2 * (h @ a) @ b)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, heads(h @ key)) / 2
    scores = jnp.where(np.tril(np.ones((4, 4), bool)), scores, -1e9)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), heads(h @ value))
    x = x + mixed.reshape(x.shape) @ output
    h = rms_norm(x, norms[1])
    return x + (jax.nn.silu(h @ gate) * (h @ up)) @ down


@lambda function: policies("transformer", function)
def _(embed, *layers):
    tokens = np.array([[3, 1, 4, 1], [5, 9, 2, 6]])
    targets = np.array([[1, 4, 1, 5], [9, 2, 6, 10]])

    def loss(a, b):
        x = embed[tokens]
        for i in range(2):
            x = transformer_layer(x, *(w[i] for w in layers[:-2]), a[i], b[i])
        chosen = jax.nn.log_softmax(x @ embed.T)
        return -jnp.mean(jnp.take_along_axis(chosen, targets[..., None], -1))

    return jax.value_and_grad(loss, argnums=(0, 1))(*layers[-2:])


for layer_name, layer in LAYERS.items():
    rows([layer_name], layer)


def read_safetensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"])
    return tensors


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
