"""A QLoRA training step of a Llama in JAX and Optax, as `jax_qlora.py` compiles it. Batch 1, bf16, adapters in f32.

The frozen linear layers are packed and widened a layer at a time inside a rematerialised scan over layers;
attention is JAX's own splash kernel with grouped heads; the loss is computed in chunks of tokens.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import optax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.pallas.ops.tpu import splash_attention as splash

RANK, ALPHA, LEARNING_RATE = 32, 64, 2e-4
ATTENTION_BLOCK = LOSS_CHUNK = 512
MLP_TILE = 1024
NF4_BLOCK = 64
NF4_LEVELS = (  # QLoRA (Dettmers et al., 2023), appendix E
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """How the frozen weights are packed, and whether layer inputs lie in the host's memory and the MLP is tiled."""

    weights: str
    offload: bool


VARIANTS = {
    "int8": Variant("int8", False),
    "nf4": Variant("nf4", False),
    "nf4-offload": Variant("nf4", True),
}


def linear_sizes(config):
    """name: (in, out) of a layer's linear modules."""
    d, f = config["hidden_size"], config["intermediate_size"]
    kv = d // config["num_attention_heads"] * config["num_key_value_heads"]
    return {"q": (d, d), "k": (d, kv), "v": (d, kv), "o": (d, d), "gate": (d, f), "up": (d, f), "down": (f, d)}


def packed_shapes(weights, layers, inner, outer):
    """int8 with a scale for each output; NF4 with two codes to a byte and a scale for each 64 inputs."""
    if weights == "int8":
        return {"codes": jax.ShapeDtypeStruct((layers, inner, outer), jnp.int8),
                "scale": jax.ShapeDtypeStruct((layers, outer), jnp.bfloat16)}
    blocks = inner // NF4_BLOCK
    return {"codes": jax.ShapeDtypeStruct((layers, blocks, NF4_BLOCK // 2, outer), jnp.uint8),
            "scale": jax.ShapeDtypeStruct((layers, blocks, 1, outer), jnp.bfloat16)}


def parameter_shapes(config, variant):
    """The frozen base and the adapters, each stacked over layers."""
    layers, d = config["num_hidden_layers"], config["hidden_size"]
    table = jax.ShapeDtypeStruct((config["vocab_size"], d), jnp.bfloat16)
    norms = jax.ShapeDtypeStruct((layers, d), jnp.bfloat16)
    sizes = linear_sizes(config)
    base = {
        "embed": table,
        "norm": jax.ShapeDtypeStruct((d,), jnp.bfloat16),
        "layers": {"attention_norm": norms, "mlp_norm": norms,
                   **{name: packed_shapes(variant.weights, layers, *size) for name, size in sizes.items()}},
        **({} if config["tie_word_embeddings"] else {"head": table}),
    }
    adapters = {name: {"a": jax.ShapeDtypeStruct((layers, inner, RANK), jnp.float32),
                       "b": jax.ShapeDtypeStruct((layers, RANK, outer), jnp.float32)}
                for name, (inner, outer) in sizes.items()}
    return base, adapters


def product(x, packed):
    """x [tokens, in] times a packed weight: [tokens, out]."""
    codes, scale = packed["codes"], packed["scale"]
    if codes.dtype == jnp.int8:
        return x @ codes.astype(x.dtype) * scale
    levels = jnp.asarray(NF4_LEVELS, x.dtype)
    weight = jnp.concatenate([levels[codes & 15], levels[codes >> 4]], 1) * scale
    return x @ weight.reshape(-1, weight.shape[-1])


def inverse_frequencies(config):
    """Of rotary embedding, with Llama 3.1's scaling where the configuration has it."""
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    inverse = config["rope_theta"] ** (-jnp.arange(0, head_dim, 2) / head_dim)
    scaling = config.get("rope_scaling")
    if not scaling:
        return inverse
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * inverse / (2 * math.pi)
    keep = jnp.clip((turns - low) / (high - low), 0, 1)
    return inverse * (keep + (1 - keep) / scaling["factor"])


def make_block(config, variant, tokens, interpret):
    d, heads, kv_heads = (config[key] for key in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    head_dim = d // heads
    mask = splash.splash_attention_mask.MultiHeadMask([splash.CausalMask((tokens, tokens))] * heads)
    attention = splash.make_splash_mha_single_device(
        mask, block_sizes=splash.BlockSizes(*[ATTENTION_BLOCK] * 8), interpret=interpret)

    def rope(x, scale=1.0):
        angles = jnp.arange(tokens)[:, None] * inverse_frequencies(config)
        cos, sin = jnp.cos(angles)[:, None] * scale, jnp.sin(angles)[:, None] * scale
        left, right = jnp.split(x.astype(jnp.float32), 2, -1)
        return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], -1).astype(x.dtype)

    def block(x, layer):
        base, adapters = layer
        x = checkpoint_name(x, "layer_input")

        def linear(name, value):
            a, b = (adapters[name][key].astype(value.dtype) for key in "ab")
            return product(value, base[name]) + (value @ a) @ b * (ALPHA / RANK)

        def mlp(x):
            h = rms_norm(x, base["mlp_norm"], config)
            return x + linear("down", jax.nn.silu(linear("gate", h)) * linear("up", h))

        h = rms_norm(x, base["attention_norm"], config)
        q = rope(linear("q", h).reshape(tokens, heads, head_dim), head_dim**-0.5)
        k = rope(linear("k", h).reshape(tokens, kv_heads, head_dim))
        v = linear("v", h).reshape(tokens, kv_heads, head_dim)
        attended = attention(*(value.swapaxes(0, 1) for value in (q, k, v)))
        x = x + linear("o", attended.swapaxes(0, 1).reshape(tokens, d))
        if not variant.offload:
            return mlp(x), None
        return jax.lax.map(jax.checkpoint(mlp), x.reshape(-1, MLP_TILE, d)).reshape(tokens, d), None

    return block


def rms_norm(x, weight, config):
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + config["rms_norm_eps"])
    return (wide * scale * weight).astype(x.dtype)


def make_loss(config, variant, tokens, interpret):
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[], names_which_can_be_offloaded=["layer_input"], offload_src="device",
        offload_dst="pinned_host")
    block = jax.checkpoint(make_block(config, variant, tokens, interpret), policy=policy if variant.offload else None)

    def loss(adapters, base, ids, labels):
        x, _ = jax.lax.scan(block, base["embed"][ids], (base["layers"], adapters))
        head = base.get("head", base["embed"])

        @jax.checkpoint
        def chunk(total, part):
            x, labels = part
            logits = jnp.dot(rms_norm(x, base["norm"], config), head.T, preferred_element_type=jnp.float32)
            return total + optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum(), None

        parts = (x.reshape(-1, LOSS_CHUNK, x.shape[-1]), labels.reshape(-1, LOSS_CHUNK))
        return jax.lax.scan(chunk, 0.0, parts)[0] / tokens

    return loss


def make_step(config, variant, tokens, interpret=False):
    """The optimiser, and update((adapters, moments), base, ids, labels): the new state, and the loss before it."""
    loss = make_loss(config, variant, tokens, interpret)
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=0.0)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state, base, ids, labels):
        adapters, moments = state
        value, gradients = jax.value_and_grad(loss)(adapters, base, ids, labels)
        updates, moments = optimizer.update(gradients, moments, adapters)
        return (optax.apply_updates(adapters, updates), moments), value

    return optimizer, update
