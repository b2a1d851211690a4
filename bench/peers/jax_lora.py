#!/usr/bin/env python3
"""Steps of LoRA fine-tuning of SmolLM2-135M (random weights) by JAX and Optax, layers scanned."""

import functools
import os

import step_timer as timer

HEAD_DIM = timer.D_MODEL // timer.HEADS
LINEARS = {  # name: (in, out)
    "q": (timer.D_MODEL, timer.D_MODEL),
    "k": (timer.D_MODEL, timer.KV_HEADS * HEAD_DIM),
    "v": (timer.D_MODEL, timer.KV_HEADS * HEAD_DIM),
    "o": (timer.D_MODEL, timer.D_MODEL),
    "gate": (timer.D_MODEL, timer.D_FF),
    "up": (timer.D_MODEL, timer.D_FF),
    "down": (timer.D_FF, timer.D_MODEL),
}


def limit_threads(count):
    """XLA's CPU pools take the cores that the process may run on."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if count:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def make_parameters(jax, dtype):
    """The frozen base in `dtype`, and f32 adapters, both stacked over layers."""
    jnp = jax.numpy
    keys = iter(jax.random.split(jax.random.key(0), 32))

    def normal(shape, scale, kind):
        return (jax.random.normal(next(keys), shape) * scale).astype(kind)

    def stacked(inner, outer, kind):
        return normal((timer.LAYERS, inner, outer), 0.02, kind)

    ones = jnp.ones((timer.LAYERS, timer.D_MODEL), dtype)
    base = {
        "embed": normal((timer.VOCAB, timer.D_MODEL), 0.02, dtype),
        "norm": jnp.ones((timer.D_MODEL,), dtype),
        "layers": {
            "attention_norm": ones,
            "mlp_norm": ones,
            **{name: stacked(*shape, dtype) for name, shape in LINEARS.items()},
        },
    }
    adapters = {
        name: {
            "a": stacked(inner, timer.RANK, jnp.float32),
            "b": jnp.zeros((timer.LAYERS, timer.RANK, outer)),
        }
        for name, (inner, outer) in LINEARS.items()
    }
    return base, adapters


def make_loss(jax, batch, seq, dtype):
    jnp = jax.numpy
    inverse = timer.ROPE_THETA ** (-jnp.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    angles = jnp.arange(seq)[:, None] * inverse
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]

    def rms_norm(x, weight):
        x = x.astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + timer.NORM_EPS)
        return (x * scale * weight).astype(dtype)

    def rope(x):
        left, right = jnp.split(x.astype(jnp.float32), 2, -1)
        turned = jnp.concatenate([left * cos - right * sin, right * cos + left * sin], -1)
        return turned.astype(dtype)

    def block(x, layer):
        base, adapters = layer

        def linear(name, value):
            a, b = (adapters[name][key].astype(dtype) for key in "ab")
            return value @ base[name] + (value @ a) @ b * (timer.ALPHA / timer.RANK)

        h = rms_norm(x, base["attention_norm"])
        q = rope(linear("q", h).reshape(batch, seq, timer.HEADS, HEAD_DIM))
        k = rope(linear("k", h).reshape(batch, seq, timer.KV_HEADS, HEAD_DIM))
        v = linear("v", h).reshape(batch, seq, timer.KV_HEADS, HEAD_DIM)
        attended = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + linear("o", attended.reshape(batch, seq, timer.D_MODEL))
        h = rms_norm(x, base["mlp_norm"])
        x = x + linear("down", jax.nn.silu(linear("gate", h)) * linear("up", h))
        return x, None

    def loss(adapters, base, ids):
        import optax

        x, _ = jax.lax.scan(block, base["embed"][ids], (base["layers"], adapters))
        logits = rms_norm(x[:, :-1], base["norm"]) @ base["embed"].T
        logits = logits.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]).mean()

    return loss


def make_step(jax, args):
    import optax

    dtype = {"f32": jax.numpy.float32, "bf16": jax.numpy.bfloat16}[args.dtype]
    base, adapters = make_parameters(jax, dtype)
    loss = make_loss(jax, args.batch, args.seq, dtype)
    optimizer = optax.adamw(timer.LEARNING_RATE, weight_decay=0.0)
    state = (adapters, optimizer.init(adapters))
    ids = jax.numpy.asarray(timer.random_ids(args), jax.numpy.int32)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state, base, ids):
        adapters, moments = state
        value, gradients = jax.value_and_grad(loss)(adapters, base, ids)
        updates, moments = optimizer.update(gradients, moments, adapters)
        return (optax.apply_updates(adapters, updates), moments), value

    def step():
        nonlocal state
        state, value = update(state, base, ids)
        jax.block_until_ready(state)
        return value

    return step


def main():
    args = timer.parse_flags(__doc__)
    limit_threads(args.threads)
    import jax

    timer.measure("jax", args, make_step(jax, args))


if __name__ == "__main__":
    main()
