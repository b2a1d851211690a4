"""Tiny random Llama checkpoints, one per config feature, with transformers' f32 logits.

Each case is a folder as published on model hubs (config.json, *.safetensors) and beside it
ids.safetensors (`ids` int32 [B, S]) and logits.safetensors (`logits` f32 [B, S, V]). Weights are
large enough for attention to be far from uniform, so that a wrong position or mask shows.
"""

import dataclasses
import shutil

import torch

import common

# Largest error of f32 against f64 that a fixture may have, as a share of the logits' range: a case
# that f32 itself cannot answer well would test nothing at 1e-4.
MAX_F32_ERROR = 1e-5

SMALL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "pretraining_tp": 1,
    "use_cache": True,
    "initializer_range": 0.02,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float32",
    "transformers_version": "4.46.3",
}


@dataclasses.dataclass(frozen=True)
class Case:
    config: dict  # changes to SMALL
    drop: tuple = ()  # keys of SMALL that this config.json lacks
    batch: int = 2
    seq: int = 20
    stored: torch.dtype = torch.float32
    shards: int = 1
    embed_scale: float = 1.0
    inv_freq_buffers: bool = False


def llama3_scaling(original, **extra):
    return {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": original,
        "rope_type": "llama3",
        **extra,
    }


OLD_ROPE_KEYS = ("rope_theta", "rope_scaling")

CASES = {
    "mha": Case({}),
    "gqa": Case({"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 2}),
    "mqa": Case({"num_key_value_heads": 1, "num_hidden_layers": 3}),
    "tied": Case({"tie_word_embeddings": True}),
    # What a minimal config leaves out: heads of K and V, theta, epsilon (small embeddings show it).
    "defaults": Case(
        {},
        drop=("num_key_value_heads", "rms_norm_eps", "rope_theta", "rope_scaling",
              "tie_word_embeddings", "attention_bias", "mlp_bias", "hidden_act", "torch_dtype"),
        embed_scale=0.003,
    ),
    "attention_bias": Case({"attention_bias": True, "num_key_value_heads": 2}),
    "mlp_bias": Case({"mlp_bias": True}),
    "head_dim_wider": Case({"head_dim": 12, "num_key_value_heads": 2}),
    "head_dim_narrower": Case({"head_dim": 6}),
    "rms_norm_eps": Case({"rms_norm_eps": 1e-2}, embed_scale=0.1),
    "rope_theta": Case({"rope_theta": 500000.0}, seq=40),
    "rope_theta_new_key": Case(
        {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "dtype": "float32"},
        drop=(*OLD_ROPE_KEYS, "torch_dtype"), seq=40,
    ),
    "rope_linear": Case({"rope_scaling": {"type": "linear", "factor": 2.5}}, seq=40),
    "rope_linear_rope_type": Case({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, seq=40),
    "rope_linear_new_key": Case(
        {"rope_parameters": {"rope_theta": 20000.0, "rope_type": "linear", "factor": 2.5}},
        drop=OLD_ROPE_KEYS, seq=40,
    ),
    # Three bands: frequencies kept, blended and divided. One within the original length, two past it.
    "rope_llama3_short": Case({"head_dim": 16, "rope_scaling": llama3_scaling(64)}, seq=24),
    "rope_llama3_long": Case({"head_dim": 16, "rope_scaling": llama3_scaling(32)}, batch=1, seq=96),
    "rope_llama3_new_key": Case(
        {"head_dim": 16, "rope_parameters": llama3_scaling(32, rope_theta=10000.0)},
        drop=OLD_ROPE_KEYS, batch=1, seq=96,
    ),
    "stored_bf16": Case({"torch_dtype": "bfloat16"}, stored=torch.bfloat16),
    "stored_f16": Case({"torch_dtype": "float16"}, stored=torch.float16),
    "sharded": Case({"num_hidden_layers": 3}, shards=3),
    "inv_freq_buffers": Case({}, inv_freq_buffers=True),
    "hidden_act_gelu": Case({"hidden_act": "gelu"}),
    # Llama 3.2's whole combination, an odd vocabulary and several end tokens.
    "llama32": Case(
        {"vocab_size": 131, "head_dim": 8, "num_key_value_heads": 2, "rope_theta": 500000.0,
         "rope_scaling": llama3_scaling(32, factor=32.0), "tie_word_embeddings": True,
         "torch_dtype": "bfloat16", "eos_token_id": [2, 3, 4]},
        stored=torch.bfloat16, batch=1, seq=64,
    ),
}


def full_config(case):
    config = {**SMALL, **case.config}
    return {key: value for key, value in sorted(config.items()) if key not in case.drop}


def head_dim_of(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def linear_shapes(config):
    """[out, in] of a layer's linears by name, and whether each has a bias."""
    d_model, d_ff = config["hidden_size"], config["intermediate_size"]
    q = config["num_attention_heads"] * head_dim_of(config)
    kv = config.get("num_key_value_heads", config["num_attention_heads"]) * head_dim_of(config)
    attention, mlp = config.get("attention_bias", False), config.get("mlp_bias", False)
    return {
        "self_attn.q_proj": (q, d_model, attention),
        "self_attn.k_proj": (kv, d_model, attention),
        "self_attn.v_proj": (kv, d_model, attention),
        "self_attn.o_proj": (d_model, q, attention),
        "mlp.gate_proj": (d_ff, d_model, mlp),
        "mlp.up_proj": (d_ff, d_model, mlp),
        "mlp.down_proj": (d_model, d_ff, mlp),
    }


def random_layer(generator, prefix, config):
    d_model = config["hidden_size"]
    tensors = {}
    for name, (out, inner, bias) in linear_shapes(config).items():
        gain = 1.6 if name in ("self_attn.q_proj", "self_attn.k_proj") else 1.0
        tensors[f"{prefix}.{name}.weight"] = common.normal(generator, (out, inner), gain * inner**-0.5)
        if bias:
            tensors[f"{prefix}.{name}.bias"] = common.normal(generator, (out,), 0.5)
    for norm in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"{prefix}.{norm}.weight"] = 1 + common.normal(generator, (d_model,), 0.2)
    return tensors


def random_weights(name, case, config):
    generator = common.rng("llama", name)
    d_model, vocab = config["hidden_size"], config["vocab_size"]
    tensors = {
        "model.embed_tokens.weight": common.normal(generator, (vocab, d_model), case.embed_scale),
        "model.norm.weight": 1 + common.normal(generator, (d_model,), 0.2),
    }
    if not config.get("tie_word_embeddings", False):
        tensors["lm_head.weight"] = common.normal(generator, (vocab, d_model), d_model**-0.5)
    for layer in range(config["num_hidden_layers"]):
        tensors |= random_layer(generator, f"model.layers.{layer}", config)
        if case.inv_freq_buffers:
            exponent = torch.arange(0, head_dim_of(config), 2) / head_dim_of(config)
            buffer = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
            tensors[buffer] = config["rope_theta"] ** -exponent
    return {key: tensor.to(case.stored) for key, tensor in tensors.items()}


def write_checkpoint(folder, tensors, shards):
    if shards == 1:
        common.write_tensors(folder / "model.safetensors", tensors)
        return
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        common.write_tensors(folder / file, {name: tensors[name] for name in part})
        weight_map |= {name: file for name in part}
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    common.write_json(folder / "model.safetensors.index.json", index)


def write_case(name, case):
    folder = common.FIXTURES / "llama" / name
    shutil.rmtree(folder, ignore_errors=True)
    config = full_config(case)
    common.write_json(folder / "config.json", config)
    write_checkpoint(folder, random_weights(name, case, config), case.shards)

    shape = (case.batch, case.seq)
    ids = torch.from_numpy(common.rng("ids", name).integers(0, config["vocab_size"], shape)).int()
    logits = common.logits_of(common.load_base(folder), ids)
    exact = common.logits_of(common.load_base(folder, torch.float64), ids)
    error = ((logits - exact).abs().max() / (exact.max() - exact.min())).item()
    if error > MAX_F32_ERROR:
        raise SystemExit(f"{folder}: expected f32 within {MAX_F32_ERROR} of f64, got {error}")
    common.write_tensors(folder / "ids.safetensors", {"ids": ids})
    common.write_tensors(folder / "logits.safetensors", {"logits": logits})


def write():
    for name, case in CASES.items():
        write_case(name, case)
