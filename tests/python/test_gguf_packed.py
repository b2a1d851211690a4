"""A GGUF file in K formats, whose weights stay packed, beside the same file inflated by `gguf`: logits, steps
of training, and what the weights take. As in a Q4_K_M file, some layers' values and down projections have
six bits; output projections have a format that is not kept packed."""

import json

import gguf
import numpy as np
import pytest
from cli_support import logits_of, output, sophia, training
from gguf.quants import dequantize
from safetensors.numpy import load_file
from test_gguf_logits import gguf_name, paired, write_gguf

Q4, Q5, Q6 = (gguf.GGMLQuantizationType[name] for name in ("Q4_K", "Q5_K", "Q6_K"))
HEADS, LAYERS = 4, 3
IDS = ("--ids", ",".join(str(token) for token in range(3, 60, 5)))
CONFIG = {
    "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": HEADS, "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS, "max_position_embeddings": 128, "vocab_size": 128, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "rope_scaling": None,
}
SHAPES = {
    "self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256),
    "self_attn.o_proj": (256, 256), "mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256),
    "mlp.down_proj": (256, 512),
}
# Bytes of a block of 256, Q4_K's scales and minima of 6 bits widened; the mixture has all parts of both.
BLOCK = {Q4: 148, Q6: 210, "mixture": 220}


def kind_of(module, layer):
    if module == "self_attn.o_proj":
        return Q5
    return Q6 if module in ("self_attn.v_proj", "mlp.down_proj") and layer == 1 else Q4


def random_blocks(rng, kind, shape):
    """Random bytes with factors of scales that make weights near 1 / 16."""
    block = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // 256, block), np.uint8)
    factors = {Q4: [(0, 3e-4), (2, 2.2e-3)], Q5: [(0, 1.5e-4), (2, 2.2e-3)], Q6: [(208, 6e-5)]}[kind]
    for offset, factor in factors:
        values = (factor * rng.uniform(0.5, 1, blocks.shape[:2])).astype(np.float16)
        blocks[:, :, offset : offset + 2] = values[..., None].view(np.uint8)
    return blocks.reshape(shape[0], -1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The file in blocks, and that of their values in f32."""
    folder = tmp_path_factory.mktemp("gguf")
    rng = np.random.default_rng(5)
    plain = {"model.embed_tokens.weight": rng.standard_normal((128, 256)), "model.norm.weight": np.ones(256),
             "lm_head.weight": rng.standard_normal((128, 256)) / 16}
    blocks = {}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            plain[f"{prefix}.{norm}.weight"] = rng.uniform(0.5, 1.5, 256)
        for module, shape in SHAPES.items():
            kind = kind_of(module, layer)
            blocks[f"{prefix}.{module}.weight"] = (kind, random_blocks(rng, kind, shape))
    plain = {name: values.astype(np.float32) for name, values in plain.items()}
    # The blocks of queries and keys have rows in pairs, as a file does.
    inflated = {}
    for name, (kind, values) in blocks.items():
        heads = {"q_proj": HEADS, "k_proj": 2}.get(name.split(".")[-2])
        values = dequantize(values, kind)
        inflated[name] = values if heads is None else unpaired(values, heads)
    paths = folder / "packed.gguf", folder / "inflated.gguf"
    tokens = [chr(192 + token) for token in range(128)]
    write_gguf(paths[1], CONFIG, plain | inflated, tokens=tokens)
    write_gguf(paths[0], CONFIG, plain, tokens=tokens, blocks={gguf_name(name): block for name, block in blocks.items()})
    return paths


def unpaired(values, heads):
    """What `paired` takes to `values`."""
    order = paired(np.arange(len(values)), heads)
    result = np.empty_like(values)
    result[order] = values
    return result


@pytest.mark.parametrize("kernels", ["reference", "interpret"])
def test_logits_are_those_of_the_inflated_file(models, tmp_path, kernels):
    packed, inflated = models
    want = logits_of(inflated, tmp_path / "a.safetensors", ids=IDS)
    got = logits_of(packed, tmp_path / "b.safetensors", "--quant", "auto", "--kernels", kernels, ids=IDS)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.ptp(want))


def trained(model, out):
    rows = out.parent / "rows.jsonl"
    rows.write_text("".join(json.dumps({"input_ids": [(7 * i * i + row) % 128 for i in range(20)]}) + "\n"
                            for row in range(6)))
    output(*training(out, model=model, data=rows, **{"max-steps": 4, "batch-size": 2, "lora-r": 4,
                                                      "learning-rate": 1e-2, "max-grad-norm": 0}))
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], load_file(out / "adapter_model.safetensors")


def test_steps_are_those_on_the_inflated_file(models, tmp_path):
    (got, adapter), (want, inflated) = (trained(model, tmp_path / model.stem) for model in models)
    for ours, theirs in zip(got, want, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
    assert want[-1]["loss"] < want[0]["loss"]
    assert adapter.keys() == inflated.keys()
    for name, values in inflated.items():
        np.testing.assert_allclose(adapter[name], values, rtol=0, atol=2e-3 * np.abs(values).max())


def test_weights_stay_packed(models):
    plan = sophia("plan", "--model", models[0], "--topology", "cpu", "--max-length", 32, "--batch-size", 1,
                  "--no-confirm", "--json", "--dtype", "bf16")
    expected = 2 * (2 * 128 * 256 + 256 + LAYERS * 2 * 256)
    for module, (rows, columns) in SHAPES.items():
        kinds = {kind_of(module, layer) for layer in range(LAYERS)}
        kind = kinds.pop() if len(kinds) == 1 else "mixture"
        expected += LAYERS * rows * columns * (BLOCK[kind] / 256 if kind in BLOCK else 2)
    assert json.loads(plan.stdout)["bytes"]["weights"] == expected
