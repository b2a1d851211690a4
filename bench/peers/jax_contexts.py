#!/usr/bin/env python3
"""Device memory of one QLoRA step of a Llama model, hand-written in JAX, compiled for a TPU that need not be here.

What a JAX user would write: frozen linear weights in int8 with a scale for each output, widened to bf16 a layer at a
time; LoRA on all of them; layers in a scan, of which the reverse pass keeps the inputs (jax.checkpoint); JAX's own
splash attention; the cross-entropy in chunks of tokens; Optax's AdamW on f32 adapters. Prints one JSON object:
{"fits": …, "bytes": arguments + temporaries + outputs - aliased} or {"fits": false, "wanted": the compiler's words}.
"""

import argparse
import functools
import json
import os
import pathlib
import re
import types

os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost")

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask
from jax.sharding import NamedSharding, PartitionSpec

LOSS_CHUNK = 512
ATTENTION_BLOCK = 512


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder with config.json")
    parser.add_argument("--topology", default="v5e:1x1")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--rank", type=int, default=32)
    return parser.parse_args()


def read_config(folder):
    config = types.SimpleNamespace(**json.loads((folder / "config.json").read_text()))
    config.head_dim = config.hidden_size // config.num_attention_heads
    keys = config.num_key_value_heads * config.head_dim
    width, inner = config.hidden_size, config.intermediate_size
    config.linears = {  # name: (in, out)
        "q": (width, width), "k": (width, keys), "v": (width, keys), "o": (width, width),
        "gate": (width, inner), "up": (width, inner), "down": (inner, width),
    }
    return config


def shapes(config, rank):
    """The base model and the adapters as shapes, stacked over layers."""
    layers, width = config.num_hidden_layers, config.hidden_size
    of = jax.ShapeDtypeStruct
    norm = of((layers, width), jnp.bfloat16)
    base = {
        "embed": of((config.vocab_size, width), jnp.bfloat16),
        "head": of((config.vocab_size, width), jnp.bfloat16),
        "norm": of((width,), jnp.bfloat16),
        "layers": {"attention_norm": norm, "mlp_norm": norm} | {
            name: {"weight": of((layers, *size), jnp.int8), "scale": of((layers, size[1]), jnp.bfloat16)}
            for name, size in config.linears.items()
        },
    }
    adapters = {
        name: {"a": of((layers, size[0], rank), jnp.float32), "b": of((layers, rank, size[1]), jnp.float32)}
        for name, size in config.linears.items()
    }
    return base, adapters


def rms_norm(x, scale, eps):
    x32 = x.astype(jnp.float32)
    return (x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, -1, keepdims=True) + eps)).astype(x.dtype) * scale


def rotary(x, positions, theta):
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    left, right = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], -1).astype(x.dtype)


def linear(x, layer, adapters, name):
    weight = layer[name]["weight"].astype(jnp.bfloat16) * layer[name]["scale"]
    low = x @ adapters[name]["a"].astype(x.dtype)
    return x @ weight + low @ adapters[name]["b"].astype(x.dtype)


def make_attention(config, tokens):
    block = min(ATTENTION_BLOCK, tokens)
    sizes = splash_attention_kernel.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block, block_kv_dkv=block,
        block_kv_dkv_compute=block, use_fused_bwd_kernel=True)
    masks = [splash_attention_mask.CausalMask((tokens, tokens))] * config.num_attention_heads
    return splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask(masks), block_sizes=sizes, head_shards=1, q_seq_shards=1)


def make_block(config, tokens):
    attention = make_attention(config, tokens)
    positions = jnp.arange(tokens)
    split = lambda x: x.reshape(tokens, -1, config.head_dim)

    def block(x, parts):
        layer, adapters = parts
        project = functools.partial(linear, layer=layer, adapters=adapters)
        normed = rms_norm(x, layer["attention_norm"], config.rms_norm_eps)
        q = rotary(split(project(normed, name="q")), positions, config.rope_theta) / config.head_dim**0.5
        k = rotary(split(project(normed, name="k")), positions, config.rope_theta)
        heads = attention(*(a.swapaxes(0, 1) for a in (q, k, split(project(normed, name="v")))))
        x = x + project(heads.swapaxes(0, 1).reshape(tokens, -1), name="o")
        normed = rms_norm(x, layer["mlp_norm"], config.rms_norm_eps)
        hidden = jax.nn.silu(project(normed, name="gate")) * project(normed, name="up")
        return x + project(hidden, name="down"), None

    return jax.checkpoint(block, policy=jax.checkpoint_policies.nothing_saveable)


def chunked_loss(x, head, labels):
    @jax.checkpoint
    def of_chunk(total, chunk):
        logits = (chunk[0] @ head.T).astype(jnp.float32)
        return total + optax.softmax_cross_entropy_with_integer_labels(logits, chunk[1]).sum(), None

    count = min(LOSS_CHUNK, len(labels))
    chunks = (x.reshape(-1, count, x.shape[-1]), labels.reshape(-1, count))
    return jax.lax.scan(of_chunk, 0.0, chunks)[0] / len(labels)


def make_step(config, tokens, optimizer):
    block = make_block(config, tokens)

    def loss(adapters, base, ids, labels):
        x, _ = jax.lax.scan(block, base["embed"][ids], (base["layers"], adapters))
        return chunked_loss(rms_norm(x, base["norm"], config.rms_norm_eps), base["head"], labels)

    def step(adapters, state, base, ids, labels):
        value, grads = jax.value_and_grad(loss)(adapters, base, ids, labels)
        updates, state = optimizer.update(grads, state, adapters)
        return optax.apply_updates(adapters, updates), state, value

    return jax.jit(step, donate_argnums=(0, 1))


def compile_step(args):
    config = read_config(args.model)
    topology = topologies.get_topology_desc(args.topology, "tpu")
    sharding = NamedSharding(jax.sharding.Mesh(topology.devices[:1], "device"), PartitionSpec())
    place = functools.partial(jax.tree.map, lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding))
    optimizer = optax.adamw(1e-4)
    base, adapters = shapes(config, args.rank)
    state = jax.eval_shape(optimizer.init, adapters)
    ids = jax.ShapeDtypeStruct((args.tokens,), jnp.int32)
    operands = place((adapters, state, base, ids, ids))
    return make_step(config, args.tokens, optimizer).lower(*operands).compile()


def main():
    args = parse_flags()
    try:
        memory = compile_step(args).memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        wanted = re.search(r"Used [0-9.]+\w of [0-9.]+\w hbm", str(error))
        print(json.dumps({"fits": False, "wanted": wanted[0] if wanted else str(error)[:200]}))
        return
    size = (memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
            - memory.alias_size_in_bytes)
    print(json.dumps({"fits": True, "bytes": size}))


if __name__ == "__main__":
    main()
