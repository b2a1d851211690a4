"""What single Mosaic operations compute, in NumPy."""

import re

import ml_dtypes
import numpy as np

DTYPES = {
    "f32": np.float32, "bf16": ml_dtypes.bfloat16, "i1": np.bool_, "index": np.int64,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn, "f8E5M2": ml_dtypes.float8_e5m2,
    "i4": ml_dtypes.int4, "i8": np.int8, "i16": np.int16, "i32": np.int32,
    "ui4": ml_dtypes.uint4, "ui8": np.uint8, "ui16": np.uint16, "ui32": np.uint32,
}  # fmt: skip
UNSIGNED = {np.dtype(np.int8): np.uint8, np.dtype(np.int16): np.uint16,
            np.dtype(np.int32): np.uint32, np.dtype(ml_dtypes.int4): ml_dtypes.uint4}
SIGNLESS = {np.dtype(unsigned): signed for signed, unsigned in UNSIGNED.items()}


def bits_of(dtype):
    return {np.dtype(ml_dtypes.int4): 4, np.dtype(ml_dtypes.uint4): 4}.get(
        np.dtype(dtype), np.dtype(dtype).itemsize * 8)


def unsigned(x):
    x = np.asarray(x)
    return x.view(UNSIGNED[x.dtype]) if x.dtype in UNSIGNED else x


def of_float(function):
    """f32 in double precision, narrower types in f32; then rounded once."""
    def apply(*operands):
        dtype = operands[0].dtype
        wide = np.float64 if dtype == np.float32 else np.float32
        return np.asarray(function(*(x.astype(wide) for x in operands))).astype(dtype)
    return apply


def of_integer(function):
    def apply(*operands):
        dtype = operands[0].dtype
        if dtype == np.bool_:
            return np.asarray(function(*operands)).astype(dtype)
        return np.asarray(function(*(x.astype(np.int64) for x in operands))).astype(dtype)
    return apply


def of_unsigned(function):
    def apply(*operands):
        dtype = operands[0].dtype
        wide = function(*(unsigned(x).astype(np.uint64) for x in operands))
        return np.asarray(wide).astype(UNSIGNED[dtype]).view(dtype)
    return apply


def divide_to_zero(a, b):
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, -1, np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe)))


ELEMENTWISE = {
    "arith.addf": of_float(np.add), "arith.subf": of_float(np.subtract),
    "arith.mulf": of_float(np.multiply), "arith.divf": of_float(np.divide),
    "arith.remf": of_float(np.fmod), "math.powf": of_float(np.power),
    "arith.maximumf": of_float(np.maximum), "arith.minimumf": of_float(np.minimum),
    "arith.negf": of_float(np.negative), "math.absf": of_float(np.abs),
    "math.ceil": of_float(np.ceil), "math.floor": of_float(np.floor),
    "math.cos": of_float(np.cos), "math.sin": of_float(np.sin), "math.tanh": of_float(np.tanh),
    "math.exp": of_float(np.exp), "math.exp2": of_float(np.exp2), "math.log": of_float(np.log),
    "math.log1p": of_float(np.log1p), "math.roundeven": of_float(np.rint),
    "math.sqrt": of_float(np.sqrt), "math.rsqrt": of_float(lambda x: 1 / np.sqrt(x)),
    "tpu.reciprocal": of_float(lambda x: 1 / x),
    "tpu.weird": lambda x: ~np.isfinite(x),
    "arith.addi": of_integer(np.add), "arith.subi": of_integer(np.subtract),
    "arith.muli": of_integer(np.multiply), "arith.divsi": of_integer(divide_to_zero),
    "arith.remsi": of_integer(lambda a, b: a - b * divide_to_zero(a, b)),
    "arith.maxsi": of_integer(np.maximum), "arith.minsi": of_integer(np.minimum),
    "arith.andi": of_integer(np.bitwise_and), "arith.ori": of_integer(np.bitwise_or),
    "arith.xori": of_integer(np.bitwise_xor), "arith.shli": of_integer(np.left_shift),
    "arith.shrsi": of_integer(np.right_shift), "math.absi": of_integer(np.abs),
    "arith.maxui": of_unsigned(np.maximum), "arith.minui": of_unsigned(np.minimum),
    "arith.divui": of_unsigned(np.floor_divide), "arith.remui": of_unsigned(np.remainder),
    "arith.shrui": of_unsigned(np.right_shift),
}  # fmt: skip
COMPARE_INTEGERS = [np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal]
COMPARE_FLOATS = {1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal,
                  13: np.not_equal}
REDUCTIONS = {"add": (np.sum, np.add), "maximumf": (np.max, np.maximum),
              "minimumf": (np.min, np.minimum), "maxsi": (np.max, np.maximum)}


def to_bits(x):
    """The elements as unsigned integers."""
    if bits_of(x.dtype) == 4:
        return x.astype(np.int8).view(np.uint8) & 15
    return x.view({8: np.uint8, 16: np.uint16, 32: np.uint32}[bits_of(x.dtype)])


def from_bits(values, dtype):
    bits = bits_of(dtype)
    if bits == 4:
        return np.where(values > 7, values.astype(np.int8) - 16, values).astype(np.int8).astype(dtype)
    return np.ascontiguousarray(values.astype(f"u{bits // 8}")).view(dtype)


def bitcast(x, dtype):
    """Another width packs along the second-last dimension, low bits first."""
    x = np.ascontiguousarray(x)
    source, target, axis = bits_of(x.dtype), bits_of(dtype), x.ndim - 2
    if source == target:
        return from_bits(to_bits(x), dtype)
    values = np.moveaxis(to_bits(x), axis, 0).astype(np.uint64)
    if target < source:
        parts = [(values >> np.uint64(i * target)) & np.uint64((1 << target) - 1)
                 for i in range(source // target)]
        values = np.stack(parts, 1).reshape(-1, *values.shape[1:])
    else:
        groups = values.reshape(-1, target // source, *values.shape[1:])
        values = sum(groups[:, i] << np.uint64(i * source) for i in range(target // source))
    return from_bits(np.ascontiguousarray(np.moveaxis(values, 0, axis)), dtype)


def dot(lhs, rhs, acc, numbers):
    """#tpu.dot_dimension_numbers: contracting, free, output order, batch dimensions."""
    groups = [[int(n) for n in re.findall(r"\d+", group)]
              for group in re.findall(r"\[([^\]]*)\]", numbers)]
    contract, free, order = groups[0:2], groups[2:4], groups[4]
    wide = np.int64 if acc.dtype == np.int32 else np.float64
    names = [[None] * lhs.ndim, [None] * rhs.ndim]
    letters = iter("abcdefgh")
    for i, j in zip(*contract):
        names[0][i] = names[1][j] = next(letters)
    for side in (0, 1):
        for axis in free[side]:
            names[side][axis] = next(letters)
    out = "".join(names[order[i]][order[i + 1]] for i in range(0, len(order), 2))
    product = np.einsum(f"{''.join(names[0])},{''.join(names[1])}->{out}", lhs.astype(wide),
                        rhs.astype(wide), optimize=True)
    return (product + acc.astype(wide)).astype(acc.dtype)


def convert(name, x, dtype):
    if name in ("arith.extui", "arith.uitofp"):
        return unsigned(x).astype(np.int64).astype(dtype)
    if name == "arith.trunci":
        if dtype == np.bool_:
            return x.astype(np.int64) & 1 == 1
        return from_bits(x.astype(np.int64) & ((1 << bits_of(dtype)) - 1), dtype)
    if name in ("arith.fptosi", "arith.fptoui"):
        bits, is_signed = bits_of(dtype), name == "arith.fptosi"
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)
        whole = np.clip(np.nan_to_num(np.trunc(x.astype(np.float64))), low, high).astype(np.int64)
        return from_bits(whole & ((1 << bits) - 1), dtype)
    if bits_of(x.dtype) == 4:
        x = x.astype(np.int32)
    return x.astype(dtype)
