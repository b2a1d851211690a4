"""Tiny Llama folders quantised to NF4 by bitsandbytes through transformers, and QLoRA runs on them.

    bitsandbytes/base/          not quantised, bf16
    bitsandbytes/nested/        base with double-quantised scales, in bf16
    bitsandbytes/plain/         f32 scales, in f16; rows of the down projection are no whole blocks, value
                                projections are not quantised
    …/values.safetensors        of some quantised weights, by bitsandbytes' dequantize_4bit: NAME (f32), NAME.own
                                (in the folder's type)
    …/ids.safetensors, logits.safetensors   as in `llama`, of weights dequantised in f32
    bitsandbytes/runs.json      runs as in `sft` by peft over Linear4bit layers, in f32, and the `quant` that our side takes
    bitsandbytes/adapter/, runs/NAME/adapter_model.safetensors   adapters before and after
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

import common
import llama_cases
import sft

FOLDER = common.FIXTURES / "bitsandbytes"
SIZES = {"hidden_size": 64, "intermediate_size": 64, "num_key_value_heads": 2, "tie_word_embeddings": True}
SKIPPED = ["lm_head", "v_proj"]
VALUES = {
    "nested": ["model.layers.0.self_attn.k_proj.weight", "model.layers.1.mlp.down_proj.weight"],
    "plain": ["model.layers.0.self_attn.k_proj.weight", "model.layers.1.mlp.down_proj.weight"],
}
RUNS = {"quantised": ("base", "nf4"), "nested": ("nested", "auto")}
OPTIONS = {"lr_scheduler_type": "constant", "weight_decay": 0.01}


def nf4(**options):
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", **options)


def write_base(folder, name, sizes, stored):
    case = llama_cases.Case({**SIZES, **sizes}, stored=stored)
    config = llama_cases.full_config(case) | {"torch_dtype": str(stored).removeprefix("torch.")}
    common.write_json(folder / "config.json", config)
    llama_cases.write_checkpoint(folder, llama_cases.random_weights(name, case, config), 1)


def quantise(source, folder, dtype, **options):
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, device_map="cpu", quantization_config=nf4(**options))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def write_folders():
    """In a process of its own, in which torch makes the table of scales with AVX2."""
    write_base(FOLDER / "base", "bitsandbytes", {}, torch.bfloat16)
    quantise(FOLDER / "base", FOLDER / "nested", torch.bfloat16, bnb_4bit_use_double_quant=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_base(pathlib.Path(scratch), "plain", {"intermediate_size": 96}, torch.float16)
        quantise(scratch, FOLDER / "plain", torch.float16, llm_int8_skip_modules=SKIPPED)


def dequantised(tensors, name, dtype=None):
    """A weight of a folder, in its own type or another."""
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
    from bitsandbytes.functional import QuantState, dequantize_4bit

    parts = {key: value for key, value in tensors.items() if key.startswith(name + ".")}
    if not parts:
        return tensors[name]
    state = QuantState.from_dict(parts, device=torch.device("cpu"))
    state.dtype = dtype or state.dtype
    if state.shape[-1] % state.blocksize == 0:
        return dequantize_4bit(tensors[name], state)
    # 0.50.2's kernel for the CPU takes rows to begin with a block, which its quantize_4bit does not.
    return _dequantize_4bit_compute(tensors[name].reshape(-1), state.absmax, state.code, state.blocksize,
                                    state.shape, state.dtype)


def write_values(folder, names):
    tensors = load_file(folder / "model.safetensors")
    values = {}
    for name in names:
        values[name] = dequantised(tensors, name, torch.float32)
        values[f"{name}.own"] = dequantised(tensors, name)
    common.write_tensors(folder / "values.safetensors", values)

    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    model = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="eager")).eval()
    whole = {name: dequantised(tensors, name, torch.float32).float()
             for name in tensors if name.endswith("weight")}
    missing = model.load_state_dict(whole, strict=False)
    assert not missing.unexpected_keys and missing.missing_keys == ["lm_head.weight"], missing
    ids = torch.from_numpy(common.rng("ids", folder.name).integers(0, config["vocab_size"], (1, 16))).int()
    common.write_tensors(folder / "ids.safetensors", {"ids": ids})
    common.write_tensors(folder / "logits.safetensors", {"logits": common.logits_of(model, ids)})


def load(base):
    """In f32, with linear layers that stay in NF4."""
    options = {} if base != "base" else {"quantization_config": nf4(bnb_4bit_use_double_quant=True)}
    model = AutoModelForCausalLM.from_pretrained(
        FOLDER / base, dtype=torch.float32, device_map="cpu", attn_implementation="eager", **options)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and hasattr(module.weight, "quant_state"):
            module.weight.quant_state.dtype = torch.float32
    for parameter in model.parameters():  # a folder's own type comes before the one asked for
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    return model


def write_adapter():
    config = json.loads((FOLDER / "base" / "config.json").read_text())
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**config)), LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules="all-linear"))
    sft.randomise(model, "bitsandbytes")
    sft.save_adapter(model, FOLDER / "adapter", "bitsandbytes/base")


def write_run(name, base, quant, rows):
    options = {**sft.DEFAULTS, **OPTIONS}
    steps, model = sft.train(FOLDER / "adapter", options, rows, load(base))
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        weights = load_file(pathlib.Path(scratch, "adapter_model.safetensors"))
    out = f"bitsandbytes/runs/{name}/adapter_model.safetensors"
    common.write_tensors(common.FIXTURES / out, weights)
    return {"name": name, "base": f"bitsandbytes/{base}", "quant": quant,
            "init_adapter": "bitsandbytes/adapter", "data": "sft/rows.jsonl",
            "options": options, "adapter_out": out, "steps": steps}


def write():
    shutil.rmtree(FOLDER, ignore_errors=True)
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}
    subprocess.run([sys.executable, __file__], env=environment, check=True)
    for name, names in VALUES.items():
        write_values(FOLDER / name, names)
    write_adapter()
    rows = [json.loads(row) for row in (common.FIXTURES / "sft" / "rows.jsonl").read_text().splitlines()]
    common.write_json(FOLDER / "runs.json", [write_run(name, *run, rows) for name, run in RUNS.items()])


if __name__ == "__main__":
    common.set_up()
    write_folders()
