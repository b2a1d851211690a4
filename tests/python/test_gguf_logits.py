"""GGUF files of the tiny Llama checkpoints, written with `gguf` as converters do, against transformers' logits.

Rows of the query and key projections come in pairs, and llama3's RoPE scaling as divisors of the
frequencies in `rope_freqs.weight`, as in files from convert_hf_to_gguf.py.
"""

import json
import math

import gguf
import numpy as np
import pytest
from cli_support import FIXTURES, complaint, output
from safetensors.numpy import load_file
from safetensors_reader import read_safetensors

LAYER_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
MODEL_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
CASES = ["mha", "gqa", "mqa", "tied", "attention_bias", "mlp_bias", "head_dim_wider", "head_dim_narrower",
         "rms_norm_eps", "rope_theta", "rope_linear", "rope_llama3_short", "rope_llama3_long", "llama32"]


def read_weights(path):
    """All tensors in f32."""
    return {name: values.astype(np.float32) for name, values in read_safetensors(path).items()}


def gguf_name(name):
    path, kind = name.rsplit(".", 1)
    if path in MODEL_NAMES:
        return f"{MODEL_NAMES[path]}.{kind}"
    _, _, layer, module = path.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[module]}.{kind}"


def paired(values, heads):
    """Each head's rows i and i + half next to each other."""
    halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def frequency_divisors(scaling, theta, head_dim):
    """By what llama3's scaling divides each frequency."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    divisors = []
    for i in range(0, head_dim, 2):
        turns = original * theta ** (-i / head_dim) / (2 * math.pi)  # within the original length
        if turns > high:
            divisors.append(1.0)
        elif turns < low:
            divisors.append(factor)
        else:
            smooth = (turns - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


def write_gguf(path, config, weights, lengths=True, more=(), blocks=None, tokens=()):
    """blocks: by the file's names, a type and bytes [rows, bytes of a row] as they are to lie there."""
    heads = config["num_attention_heads"]
    kv_heads = config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_vocab_size(config["vocab_size"])
    if lengths:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    scaling = config["rope_scaling"] or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    if kind == "llama3":
        divisors = frequency_divisors(scaling, config["rope_theta"], head_dim)
        assert len(set(divisors)) > 1
        writer.add_tensor("rope_freqs.weight", divisors)
    if tokens:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([-float(rank) for rank in range(len(tokens))])
        writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
        writer.add_eos_token_id(1)
    for key, value in more:
        writer.add_uint32(key, value)
    for name, values in weights.items():
        if ".q_proj." in name:
            values = paired(values, heads)
        if ".k_proj." in name:
            values = paired(values, kv_heads)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    for name, (kind, values) in (blocks or {}).items():
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def case(name):
    folder = FIXTURES / "llama" / name
    return folder, json.loads((folder / "config.json").read_text()), read_weights(
        folder / "model.safetensors")


def logits_of(model, folder, tmp_path):
    out = tmp_path / "logits.safetensors"
    output("logits", "--model", model, "--ids-file", folder / "ids.safetensors", "--out", out,
           "--dtype", "f32")
    return load_file(out)["logits"]


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_transformers(tmp_path, name):
    folder, config, weights = case(name)
    model = write_gguf(tmp_path / "x.gguf", config, weights)
    expected = load_file(folder / "logits.safetensors")["logits"]
    got = logits_of(model, folder, tmp_path)
    assert np.abs(got - expected).max() <= 1e-4 * np.ptp(expected)


def test_head_width_may_come_from_the_rope(tmp_path):
    folder, config, weights = case("head_dim_wider")
    model = write_gguf(tmp_path / "x.gguf", config, weights, lengths=False)
    expected = load_file(folder / "logits.safetensors")["logits"]
    assert np.abs(logits_of(model, folder, tmp_path) - expected).max() <= 1e-4 * np.ptp(expected)


def test_values_of_another_width_are_refused(tmp_path):
    folder, config, weights = case("mha")
    model = write_gguf(tmp_path / "x.gguf", config, weights, lengths=False,
                       more=[("llama.attention.value_length", 4)])
    line = complaint(1, "logits", "--model", model, "--ids", "1,2", "--out", tmp_path / "y.safetensors")
    assert "expected 'llama.attention.value_length' to be the head's 8, got 4" in line
