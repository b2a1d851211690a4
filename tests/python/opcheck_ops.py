"""JAX's side of the samples of every op (sophia/graph/ops)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from opcheck_rows import Rows

ROWS = Rows()
rows, typed = ROWS.add, ROWS.add_typed

JAX_TYPES = {
    "bool": jnp.bool_, "s8": jnp.int8, "u8": jnp.uint8, "s32": jnp.int32, "u16": jnp.uint16,
    "u32": jnp.uint32, "bf16": jnp.bfloat16, "f16": jnp.float16, "f32": jnp.float32,
    "f8e4m3fn": jnp.float8_e4m3fn, "f8e5m2": jnp.float8_e5m2,
}  # fmt: skip


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
rows(["place"], lambda x: x * x * x)
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


rows(["scan", "scan/remat", "scan/prefetch"], scan_sample(False))
rows(["scan/reverse", "scan/reverse_prefetch"], scan_sample(True))
rows(["scan/closure"], lambda init, x, y: lax.scan(
    lambda carry, xs: (carry * jnp.sin(init) + xs[0], xs[1] * jnp.sin(init)), init, (x, y)))
