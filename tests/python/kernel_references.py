"""Functions of sophia/kernels in JAX, by the names of the cases in tests/kernels: the longest prefix of a
case's name decides. Each takes the case's inputs and returns the list of its outputs; gradients are
jax.vjp's."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.random import threefry2x32_p

F32 = jnp.float32


def attention(q, k, v, segments=None, *, scale=0.125, causal=True, window=0, soft_cap=0.0):
    """Masked attention with grouped queries; zero where a query sees no key."""
    length = q.shape[1]
    k, v = (jnp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = jnp.einsum("bqhd,bkhd->bhqk", q.astype(F32), k.astype(F32)) * scale
    if soft_cap:
        scores = soft_cap * jnp.tanh(scores / soft_cap)
    query, key = jnp.arange(length)[:, None], jnp.arange(length)[None, :]
    visible = jnp.ones((1, 1, length, length), bool)
    if causal:
        visible &= key <= query
    if window:
        visible &= key > query - window
    if segments is not None:
        visible &= (segments[:, :, None] == segments[:, None, :])[:, None]
    weights = jax.nn.softmax(jnp.where(visible, scores, -1e30), axis=-1) * visible
    return [jnp.einsum("bhqk,bkhd->bqhd", weights, v.astype(F32)).astype(q.dtype)]


def gated(gate, up, *, activation=jax.nn.silu):
    return [(activation(gate.astype(F32)) * up.astype(F32)).astype(gate.dtype)]


def linear_cross_entropy(hidden, head, labels, scale=None, *, soft_cap=0.0):
    """Negative log-likelihood of the labels; 0 where a label is negative."""
    logits = jnp.dot(hidden.astype(F32), head.astype(F32).T, precision="highest")
    if scale is not None:
        logits = logits * scale
    if soft_cap:
        logits = soft_cap * jnp.tanh(logits / soft_cap)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(labels, 0)[:, None], axis=1)
    return [jnp.where(labels >= 0, -picked[:, 0], 0)]


def rms_norm(x, weight, *, eps=0.01, offset=0.0):
    wide = x.astype(F32)
    root = jnp.sqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + eps)
    return [(wide / root * (offset + weight.astype(F32))).astype(x.dtype)]


def add_rms_norm(x, residual, weight, **options):
    return [*rms_norm(x + residual, weight, **options), x + residual]


def rotary(q, k, positions, *, interleaved=False):
    def rotate(x):
        size = x.shape[-1]
        frequencies = jnp.asarray(10000.0 ** (-np.arange(0, size, 2) / size), F32)
        turns = jnp.exp(1j * (positions.astype(F32)[..., None, None] * frequencies))
        shape = (*x.shape[:-1], size // 2, 2) if interleaved else (*x.shape[:-1], 2, size // 2)
        axis = -1 if interleaved else -2
        real, imaginary = (jnp.take(x.astype(F32).reshape(shape), i, axis) for i in range(2))
        turned = (real + 1j * imaginary) * turns
        return jnp.stack([turned.real, turned.imag], axis).reshape(x.shape).astype(x.dtype)

    return [rotate(q), rotate(k)]


def dropout(x, key, *, rate):
    """Threefry as JAX itself has it; rows 8 apart share a hash, 16 bits each."""
    columns = x.shape[-1]
    rows = x.size // columns
    row, column = jnp.arange(rows)[:, None], jnp.arange(columns)[None, :]
    counter = jnp.broadcast_arrays(row // 32 * 8 + row % 8, column)
    words = threefry2x32_p.bind(*key.astype(jnp.uint32), *(x.astype(jnp.uint32) for x in counter))
    quarter = row // 8 % 4
    number = jnp.where(quarter < 2, *words) >> (16 * (quarter % 2)).astype(jnp.uint32) & 0xFFFF
    keep = (number < round((1 - rate) * 65536)).reshape(x.shape)
    return [jnp.where(keep, x.astype(F32) * F32(1 / (1 - rate)), 0).astype(x.dtype)]


def dropout_key(seed, stream):
    key = jax.random.fold_in(jax.random.wrap_key_data(seed.astype(jnp.uint32)), stream.astype(jnp.uint32))
    return [jax.random.key_data(key).astype(jnp.int32)]


NF4 = jnp.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                 -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                 0.7229568362236023, 1.0], F32)  # fmt: skip


def dynamic_map(signed=True):
    """bitsandbytes' 8-bit map (https://arxiv.org/abs/1511.04561), rising."""
    positive = []
    for i in range(7):
        edges = np.linspace(0.1, 1, 2 ** (i + (not signed)) + 1)
        positive.append(10.0 ** (i - 6) * (edges[:-1] + edges[1:]) / 2)
    positive = np.concatenate(positive)
    negative = -positive[::-1] if signed else []
    return np.concatenate([negative, [0], positive, [1]])


def adamw(numbers, param, grad, mu, nu):
    """Optax's AdamW at its third step, with gradients halved."""
    state = optax.ScaleByAdamState(count=jnp.asarray(2), mu=mu, nu=nu)
    wide = param.astype(F32)
    direction, state = optax.scale_by_adam(0.8, 0.95, 1e-6, mu_dtype=mu.dtype).update(grad * 0.5, state)
    updates, _ = optax.add_decayed_weights(0.3).update(direction, optax.EmptyState(), wide)
    return [(wide - 0.02 * updates).astype(param.dtype), state.mu, state.nu]


def adamw_8bit(numbers, param, grad, mu, mu_absmax, nu, nu_absmax):
    """The same with moments as codes of blocks of 256 rows; a short last dimension lies across them."""
    swaps = param.shape[-1] < 128 and param.shape[-1] < param.shape[-2]
    to_rows = lambda x: (jnp.swapaxes(x, -1, -2) if swaps else x).reshape(mu.shape)
    rows, columns = mu.shape
    blocks = mu_absmax.shape[0]
    over_rows = lambda x: jnp.broadcast_to(x, (blocks, 256, columns)).reshape(-1, columns)[:rows]
    maps = [dynamic_map(), dynamic_map(signed=False)]
    moments = [jnp.asarray(values, F32)[codes.astype(jnp.int32)] * over_rows(absmax)
               for values, codes, absmax in zip(maps, (mu, nu), (mu_absmax, nu_absmax), strict=True)]
    updated, *moments = adamw(numbers, to_rows(param), to_rows(grad), *moments)
    results = []
    for values, moment in zip(maps, moments, strict=True):
        padded = jnp.pad(jnp.abs(moment), ((0, blocks * 256 - rows), (0, 0)))
        absmax = padded.reshape(blocks, 256, columns).max(axis=1, keepdims=True)
        share = moment / jnp.maximum(over_rows(absmax), 1.2e-38)
        middles = jnp.asarray((values[:-1] + values[1:]) / 2, F32)
        results += [jnp.searchsorted(middles, share).astype(jnp.uint8), absmax]
    if swaps:
        updated = jnp.swapaxes(updated.reshape(*param.shape[:-2], param.shape[-1], param.shape[-2]), -1, -2)
    return [updated.reshape(param.shape), *results]


def quant_matmul(x, codes, *scales, table=None, zero=0, group=64, scale_type=jnp.bfloat16):
    """x·Wᵀ. codes: nibbles in panels [in / 2, rows] unless int8, [rows, in], or with groups [in, rows]."""
    codes = jnp.asarray(codes).astype(jnp.int32)
    if not group:
        weight = codes * scales[0][:, None]
        return [(x.astype(F32) @ weight.T.astype(x.dtype).astype(F32)).astype(x.dtype)]
    rows = codes.shape[1]
    if table is not None or zero is not None:
        half = math.gcd(2 * codes.shape[0], 64) // 2
        pairs = codes.reshape(-1, 1, half, rows)
        codes = jnp.concatenate([pairs & 15, pairs >> 4], axis=1).reshape(-1, rows)
    values = codes.astype(F32) - (zero or 0) if table is None else table[codes]
    if table is not None and len(scales) > 1:
        quantised = jnp.asarray(dynamic_map(), F32)[jnp.asarray(scales[0]).astype(jnp.int32)] * scales[1][:, None]
        groups = codes.shape[0] // group
        scale = (quantised.reshape(-1)[: rows * groups] + scales[2]).reshape(rows, groups).T
    else:
        scale = scales[0].astype(scale_type).astype(F32)
    weight = values * jnp.repeat(scale, group, axis=0)
    if table is None and len(scales) > 1:
        weight = weight + jnp.repeat(scales[1].astype(scale_type).astype(F32), group, axis=0)
    return [(x.astype(F32) @ weight.astype(x.dtype).astype(F32)).astype(x.dtype)]


def quant_matmul_k(x, codes, *parts, six_bits=False, has_minima=True):
    """x·Wᵀ of blocks of 256 as ggml's K formats have them, with what stands above the nibbles in panels of 128."""
    integer = lambda x: jnp.asarray(x).astype(jnp.int32)
    wide = lambda x: jnp.asarray(x).astype(jnp.float16).astype(F32)
    over = lambda x, rows: jnp.repeat(x, rows // x.shape[0], axis=0)
    rows = codes.shape[1]
    pairs = integer(codes).reshape(-1, 32, rows)
    values = jnp.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1, rows)
    if six_bits:
        high, *parts = parts
        bits = integer(high).reshape(-1, 1, 32, rows) >> (2 * jnp.arange(4)[None, :, None, None])
        values = values + 16 * (bits & 3).reshape(-1, rows) - 32
    depth = values.shape[0]
    factors = parts[2:] if has_minima else parts[1:]
    scale, *minima = (over(wide(factor), depth) * over(integer(sub).astype(F32), depth)
                      for factor, sub in zip(factors, parts, strict=False))
    weight = values.astype(F32) * scale - (minima[0] if minima else 0)
    return [(x.astype(F32) @ weight.astype(x.dtype).astype(F32)).astype(x.dtype)]


REFERENCES = {
    "adamw": adamw,
    "adamw_8bit": adamw_8bit,
    "attention": functools.partial(attention, soft_cap=0.5),
    "dropout_tenth": functools.partial(dropout, rate=0.1),
    "dropout_half": functools.partial(dropout, rate=0.5),
    "dropout_none": functools.partial(dropout, rate=0.0),
    "dropout_key": dropout_key,
    "flash": attention,
    "flash_all_keys": functools.partial(attention, causal=False),
    "flash_window": functools.partial(attention, window=100),
    "flash_bf16_window_soft_cap": functools.partial(attention, window=100, soft_cap=0.5),
    "flash_soft_cap": functools.partial(attention, soft_cap=0.5),
    "glu_silu": gated,
    "quant_matmul_nf4": functools.partial(quant_matmul, table=NF4),
    "quant_matmul_plain_nf4": functools.partial(quant_matmul, table=NF4, scale_type=F32),
    "quant_matmul_int8": functools.partial(quant_matmul, group=0),
    "quant_matmul_int4_g64": functools.partial(quant_matmul, zero=8),
    "quant_matmul_int4_g32": functools.partial(quant_matmul, zero=8, group=32),
    "quant_matmul_int4_g128": functools.partial(quant_matmul, zero=8, group=128),
    "quant_matmul_q4_1": functools.partial(quant_matmul, group=32, scale_type=jnp.float16),
    "quant_matmul_q8_0": functools.partial(quant_matmul, group=32, zero=None, scale_type=jnp.float16),
    "quant_matmul_q4_k": quant_matmul_k,
    "quant_matmul_q6_k": functools.partial(quant_matmul_k, six_bits=True, has_minima=False),
    "quant_matmul_k_mixture": functools.partial(quant_matmul_k, six_bits=True),
    "glu_gelu": functools.partial(gated, activation=functools.partial(jax.nn.gelu, approximate=False)),
    "glu_gelu_tanh": functools.partial(gated, activation=functools.partial(jax.nn.gelu, approximate=True)),
    "linear_cross_entropy": linear_cross_entropy,
    "linear_cross_entropy_s8_head_soft_cap": functools.partial(linear_cross_entropy, soft_cap=5.0),
    "linear_cross_entropy_soft_cap": functools.partial(linear_cross_entropy, soft_cap=5.0),
    "rmsnorm": rms_norm,
    "rmsnorm_offset": functools.partial(rms_norm, offset=1.0),
    "rmsnorm_add": add_rms_norm,
    "rmsnorm_add_offset": functools.partial(add_rms_norm, offset=1.0),
    "rotary": rotary,
    "rotary_pairs": functools.partial(rotary, interleaved=True),
}
