"""Functions of sophia/kernels in JAX, by the names of the cases in tests/kernels: the longest prefix of a
case's name decides. Each takes the case's inputs and returns the list of its outputs; gradients are
jax.vjp's."""

import functools

import jax
import jax.numpy as jnp

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


REFERENCES = {
    "attention": functools.partial(attention, soft_cap=0.5),
    "flash": attention,
    "flash_all_keys": functools.partial(attention, causal=False),
    "flash_window": functools.partial(attention, window=100),
    "flash_soft_cap": functools.partial(attention, soft_cap=0.5),
    "glu_silu": gated,
    "glu_gelu": functools.partial(gated, activation=functools.partial(jax.nn.gelu, approximate=False)),
    "glu_gelu_tanh": functools.partial(gated, activation=functools.partial(jax.nn.gelu, approximate=True)),
    "linear_cross_entropy": linear_cross_entropy,
    "linear_cross_entropy_s8_head_soft_cap": functools.partial(linear_cross_entropy, soft_cap=5.0),
    "linear_cross_entropy_soft_cap": functools.partial(linear_cross_entropy, soft_cap=5.0),
}
