"""Plans whose whole compilation by libtpu takes minutes."""

import json

import pytest
from cli_support import SMOLLM2, output

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "max_position_embeddings": 131072}


def test_the_check_agrees_with_the_compilation():
    arguments = ("plan", "--model", SMOLLM2, "--max-length", 512, "--batch-size", 1, "--json")
    early, full = (json.loads(output(*arguments, *more)) for more in (["--no-confirm"], []))
    assert not early["confirmed"] and full["confirmed"]
    assert early["peak_bytes"] == pytest.approx(full["peak_bytes"], rel=0.05)


def test_kernels_save_memory_of_an_8b_step(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    arguments = ("plan", "--model", tmp_path, "--quant", "nf4", "--max-length", 4096, "--batch-size", 1,
                 "--gradient-checkpointing", "--json", "--kernels")
    with_kernels, references = (json.loads(output(*arguments, mode)) for mode in ("mosaic", "reference"))
    for name, plan in [("kernels", with_kernels), ("references", references)]:
        print(f"{name}: peak {plan['peak_bytes']} bytes, compiled in {plan['compile_seconds']:.1f} s")
        assert plan["fits"] and plan["confirmed"]
    assert with_kernels["peak_bytes"] < references["peak_bytes"]
