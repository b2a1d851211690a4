#!/usr/bin/env python3
"""Writes tests/fixtures/quant: weights and what they are quantised to.

    nf4.safetensors   NAME (bf16 or f16), by bitsandbytes' quantize_4bit on the CPU: NAME.codes, .absmax,
                      .nested_absmax, .nested_offset; by its dequantize_4bit: .f32, .own (in the weight's type)
    int.safetensors   weight (f32) and, by NumPy: int8.codes, int8.scales, int4.codes, int4.scales

Sums of the scales are exact in f32, so that bitsandbytes' mean is the same on any processor. Its table for
scales is what torch computes with AVX2 or later.
"""

import os
import subprocess
import sys

import common
import numpy as np
import torch


def weights():
    def random(name, shape, dtype):
        return common.normal(common.rng("quant", name), shape, 0.02).to(dtype)

    special = random("special", (3, 128), torch.bfloat16)
    special[0] = 0
    special[1, :64] = torch.linspace(-1, 1, 64)
    special[2, 5] = 40.0
    return {
        "one_group": random("one_group", (1, 64), torch.bfloat16),
        "special": special,
        "bf16": random("bf16", (24, 768), torch.bfloat16),
        "f16": random("f16", (6, 192), torch.float16),
    }


def nf4():
    import bitsandbytes.functional as bnb

    tensors = {}
    for name, weight in weights().items():
        codes, state = bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        tensors[name] = weight
        tensors[f"{name}.codes"] = codes.reshape(-1)
        tensors[f"{name}.absmax"] = state.absmax
        tensors[f"{name}.nested_absmax"] = state.state2.absmax
        tensors[f"{name}.nested_offset"] = state.offset.reshape(1)
        tensors[f"{name}.own"] = bnb.dequantize_4bit(codes, state)
        state.dtype = torch.float32
        tensors[f"{name}.f32"] = bnb.dequantize_4bit(codes, state)
    return tensors


def scaled(values, scale):
    return np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)


def integers():
    weight = common.normal(common.rng("quant", "int"), (5, 128), 0.02)
    weight[1] = 0
    weight[2, :64] = torch.linspace(-1, 1, 64)
    values = weight.numpy()
    scales = np.abs(values).max(1, keepdims=True) / np.float32(127)
    tensors = {
        "weight": weight,
        "int8.codes": torch.from_numpy(np.rint(scaled(values, scales)).astype(np.int8)),
        "int8.scales": torch.from_numpy(scales[:, 0]),
    }
    groups = values.reshape(-1, 64)
    narrow = torch.from_numpy(np.abs(groups).max(1) / np.float32(7)).bfloat16()
    codes = np.rint(scaled(groups, narrow.float().numpy()[:, None])).clip(-8, 7)
    tensors["int4.codes"] = torch.from_numpy(codes.astype(np.int8)).reshape(5, 128)
    tensors["int4.scales"] = narrow.reshape(5, 2)
    return tensors


def write():
    """In a process of its own, in which torch vectorises."""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}
    subprocess.run([sys.executable, __file__], env=environment, check=True)


if __name__ == "__main__":
    common.set_up()
    common.write_tensors(common.FIXTURES / "quant" / "nf4.safetensors", nf4())
    common.write_tensors(common.FIXTURES / "quant" / "int.safetensors", integers())
