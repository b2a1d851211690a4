#!/usr/bin/env python3
"""Writes tests/fixtures/weights from the gguf, safetensors and ml_dtypes packages alone.

    types.gguf              one tensor of every GGUF type that is read, and metadata of every type
    types.safetensors       the same tensors in f32, dequantised by gguf; integers as they are
    dtypes.safetensors      one tensor of every safetensors dtype that is read
    dtypes_f32.safetensors  its narrow floats in f32, widened by ml_dtypes

weight_fixtures.py [FOLDER]: another folder than the committed one. A second run writes the same bytes.
"""

import pathlib
import sys

import gguf
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "weights"
SEED = 20240229

# Where a block keeps its f16 scales: byte offsets. All other bytes may have any value.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
# Zeros, the smallest and largest subnormal, the smallest normal and the largest finite number.
EXTREME_SCALES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00]
BLOCKS_PER_ROW = 4
SAFETENSORS_DTYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16,
    "U32": np.uint32, "I32": np.int32, "U64": np.uint64, "I64": np.int64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "BF16": ml_dtypes.bfloat16, "F16": np.float16, "F32": np.float32, "F64": np.float64,
}


def finite_f16(random, count):
    bits = random.integers(0, 0x7C00, count, dtype=np.uint16)
    return bits | (random.integers(0, 2, count, dtype=np.uint16) << 15)


def quantised_rows(random, name):
    """[rows, bytes] of random blocks, then one block per extreme scale."""
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    rows = 3 if elements == 256 else 6
    blocks = random.integers(0, 256, (rows * BLOCKS_PER_ROW, size), dtype=np.uint8)
    for offset in SCALES[name]:
        scales = finite_f16(random, len(blocks))
        scales[: len(EXTREME_SCALES)] = random.permutation(EXTREME_SCALES)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, BLOCKS_PER_ROW * size)


def plain_tensors(random):
    def bits(dtype, shape):
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)

    return {
        "F32": random.standard_normal((2, 3, 4, 5)).astype(np.float32),
        "F16": finite_f16(random, 60).view(np.float16).reshape(3, 20),
        "F64": random.standard_normal(7),
        "I8": bits(np.int8, (2, 5)),
        "I16": bits(np.int16, (5,)),
        "I32": bits(np.int32, (5, 1)),
        "I64": bits(np.int64, (3,)),
    }


def add_metadata(writer):
    kinds = gguf.GGUFValueType
    writer.add_uint8("n.u8", 255)
    writer.add_int8("n.s8", -128)
    writer.add_uint16("n.u16", 65535)
    writer.add_int16("n.s16", -32768)
    writer.add_uint32("n.u32", 2**32 - 1)
    writer.add_int32("n.s32", -(2**31))
    writer.add_uint64("n.u64", 2**64 - 1)
    writer.add_key_value("n.s64", -(2**63), kinds.INT64)
    writer.add_float32("n.f32", 0.5)
    writer.add_float64("n.f64", 1e300)
    writer.add_bool("n.bool", True)
    writer.add_string("n.string", "naïve 🙂")
    writer.add_array("a.int", [1, -2, 3])
    writer.add_array("a.float", [0.5, -1.5])
    writer.add_array("a.bool", [True, False])
    writer.add_array("a.string", ["", "Ġthe", "日本"])
    writer.add_array("a.nested", [[1, 2], [3]])


def write_gguf(folder, random):
    writer = gguf.GGUFWriter(folder / "types.gguf", "test")
    add_metadata(writer)
    writer.add_custom_alignment(64)
    expected = {}
    for name, values in plain_tensors(random).items():
        writer.add_tensor(name, values)
        expected[name] = values if name.startswith("I") else values.astype(np.float32)
    for name in [*SCALES, "BF16"]:
        kind = gguf.GGMLQuantizationType[name]
        if name == "BF16":
            bits = random.integers(0, 65536, 48, dtype=np.uint16) & 0xFF7F  # never infinite
            rows = bits.view(np.uint8).reshape(3, 32)
        else:
            rows = quantised_rows(random, name)
        writer.add_tensor(name, rows, raw_dtype=kind)
        expected[name] = gguf.dequantize(rows, kind).astype(np.float32)
        assert np.isfinite(expected[name]).all(), name
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, folder / "types.safetensors")


def write_dtypes(folder, random):
    tensors, widened = {}, {}
    for name, dtype in SAFETENSORS_DTYPES.items():
        dtype = np.dtype(dtype)
        size = 256 // dtype.itemsize
        values = random.integers(0, 256, 256, dtype=np.uint8)
        if name == "BOOL":
            values &= 1
        elif name.startswith("F8"):
            values = np.arange(256, dtype=np.uint8)
        tensors[name] = values.view(dtype).reshape(2, size // 2)
        if name.startswith("F8") or name == "BF16":
            widened[name] = tensors[name].astype(np.float32)
    tensors["scalar é\n\"quoted\""] = np.array(2.5, np.float32)
    tensors["empty"] = np.zeros((0, 3), np.int16)
    save_file(tensors, folder / "dtypes.safetensors", metadata={"format": "pt"})
    save_file(widened, folder / "dtypes_f32.safetensors")


def write(folder=FOLDER):
    folder.mkdir(parents=True, exist_ok=True)
    write_gguf(folder, np.random.default_rng(SEED))
    write_dtypes(folder, np.random.default_rng(SEED + 1))


if __name__ == "__main__":
    write(*map(pathlib.Path, sys.argv[1:2]))
