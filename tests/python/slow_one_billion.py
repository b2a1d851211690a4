"""A random model of Llama-3.2-1B's shape, trained for two steps on the CPU with --quant nf4."""

import json
import re

import numpy as np
import pytest
from cli_support import peak_of, write_rows

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
    "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}
LINEAR = {
    "self_attn.q_proj": (2048, 2048), "self_attn.k_proj": (512, 2048), "self_attn.v_proj": (512, 2048),
    "self_attn.o_proj": (2048, 2048), "mlp.gate_proj": (8192, 2048), "mlp.up_proj": (8192, 2048),
    "mlp.down_proj": (2048, 8192),
}
PARAMETERS = 1_235_814_400
LINEAR_PARAMETERS = 973_078_528
TABLE = 128256 * 2048


def shapes():
    yield "model.embed_tokens.weight", (128256, 2048)
    for layer in range(16):
        for name, shape in LINEAR.items():
            yield f"model.layers.{layer}.{name}.weight", shape
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{name}.weight", (2048,)
    yield "model.norm.weight", (2048,)


def write_model(folder):
    """In bf16, a piece of a tensor in memory at a time."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header, end = {}, 0
    for name, shape in shapes():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    assert end == 2 * PARAMETERS
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(1)
    normal = rng.standard_normal(1 << 22, np.float32)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape in shapes():
            left = int(np.prod(shape))
            while left > 0:
                part = normal[rng.integers(1 << 21) :][: min(left, 1 << 21)]
                values = np.ones_like(part) if len(shape) == 1 else part * np.float32(0.02)
                file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
                left -= len(part)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("billion")
    write_model(folder)
    yield folder
    (folder / "model.safetensors").unlink()


def test_two_steps_in_the_memory_of_packed_weights(model, tmp_path):
    rng = np.random.default_rng(2)
    rows = write_rows(tmp_path / "rows.jsonl", *({"input_ids": rng.integers(0, 128256, 64).tolist()} for _ in range(2)))
    out = tmp_path / "out"
    peak, said = peak_of("train", "--model", model, "--data", rows, "--out", out, "--quant", "nf4", "--lora-r", "8",
                         "--batch-size", "1", "--max-length", "64", "--max-steps", "2", "--learning-rate", "1e-3",
                         "--save-strategy", "no", env={"SOPHIA_CACHE_DIR": ""})
    print(said, f"peak resident memory: {peak / 1e9:.2f} GB")
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # A random model knows nothing of 128,256 tokens.
    assert [step["loss"] for step in steps] == pytest.approx([np.log(128256)] * 2, rel=0.1)
    assert all(step["grad_norm"] > 0 for step in steps)
    weights = LINEAR_PARAMETERS * 4.127 / 8 + TABLE * 2
    assert weights < peak < 2 * PARAMETERS  # what the weights alone take in bf16
    assert re.search(r"^plan: .*: fits, ", said, re.M)
