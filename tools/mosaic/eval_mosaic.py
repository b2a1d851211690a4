#!/usr/bin/env python3
"""Evaluates the text of a Mosaic kernel in NumPy, without a TPU and apart from the engine's own IR.

    eval_mosaic.py FILE.mlir [--dma late] [--seed N]    runs it on random inputs, prints checksums
    read_kernel(path), run(kernel, operands), fetches(kernel, operands)     as a library

Files are those that `pallas_dump write` makes: comment lines with operand and result types and
aliases, then the text (versioned or plain), which jaxlib's parser and verifier read.

The model: the grid runs row major. Before a program, the block of each windowed operand is copied to
a fresh buffer if its index changed. An output block starts as garbage, stays while its index stays,
and is written back, clipped, when the index changes or the grid ends. Scratch and the padding of
blocks are garbage: NaN, or 77 in integers. Aliased results share the operand's array. A DMA moves data
when it is started ("early") or only when it is waited for ("late", which shows forgotten waits).
Products of f32 are exact; a TPU rounds. Errors are raised for accesses out of bounds, input blocks
outside the array, broken assume_multiple, and DMAs without wait or wait without DMA.
"""

import argparse
import json
import pathlib
import re
import sys

import numpy as np
from jax._src.interpreters import mlir as jax_mlir
from jax._src.lib import tpu
from jaxlib.mlir import ir
from jaxlib.mlir.passmanager import PassManager
from mosaic_grid import GridRun
from mosaic_memory import Memory, int_list, integer, parse_type
from mosaic_ops import (COMPARE_FLOATS, COMPARE_INTEGERS, DTYPES, ELEMENTWISE, REDUCTIONS, bitcast, convert,
                        dot, unsigned)


def read_kernel(path):
    """The header's fields and the text: operands, results (MLIR types), aliases, text."""
    text = pathlib.Path(path).read_text()
    fields = dict(re.findall(r"^// (\w+): ?(.*)$", text, re.M))
    types = {key: re.findall(r"tensor<[^>]*>", fields[key]) for key in ("operands", "results")}
    return {"name": fields["name"], "text": text, "aliases": json.loads(fields["aliases"]), **types}


class Evaluator:
    def __init__(self, text, dma="early"):
        self.memory = Memory(dma)
        self.context = jax_mlir.make_ir_context()
        self.context.allow_unregistered_dialects = True
        tpu.register_dialect(self.context)
        with self.context, ir.Location.unknown():
            self.module = ir.Module.parse(text)
            if '"stable_mosaic.' in text:
                passes = "builtin.module(mosaic-serde{serialize=false})"
                PassManager.parse(passes).run(self.module.operation)
        operations = [op.operation for op in self.module.body.operations]
        self.functions = {ir.StringAttr(op.attributes["sym_name"]).value: op for op in operations}
        self.main = next(op for op in operations if "tpu.core_type" in op.attributes)
        self.random = np.random.default_rng(0)

    def constant(self, op):
        attribute = op.attributes["value"]
        shape, element = parse_type(str(op.results[0].type))
        if element == "i1":
            return np.full(shape, "true" in str(attribute))
        kind = ir.FloatAttr if element[0] in "fb" else ir.IntegerAttr
        if shape:
            attribute = ir.DenseElementsAttr(attribute).get_splat_value()
        return np.full(shape, kind(attribute).value).astype(DTYPES[element])

    def region(self, block, arguments, values):
        """Runs a block; returns what its terminator hands out."""
        values.update(zip(block.arguments, arguments))
        for op in block.operations:
            op = op.operation
            if op.name in ("func.return", "scf.yield", "scf.condition"):
                return [values[operand] for operand in op.operands]
            results = self.step(op.name, op, values)
            if len(op.results) == 1 and not isinstance(results, list):
                results = [results]
            values.update(zip(op.results, results or []))
        return []

    def step(self, name, op, values):
        if name == "arith.constant":
            return self.constant(op)
        operands = [values[operand] for operand in op.operands]
        if name in ELEMENTWISE:
            return ELEMENTWISE[name](*(np.asarray(x) for x in operands))
        if name.startswith("scf."):
            return self.control(name, op, operands, values)
        if name.startswith(("memref.", "tpu.memref", "vector.load", "tpu.vector_store")) or (
            "dma" in name
        ):
            return self.memory.step(name, op, operands)
        return self.vector(name, op, operands)

    def vector(self, name, op, operands):
        attributes = op.attributes
        number = lambda key: ir.IntegerAttr(attributes[key]).value
        x = np.asarray(operands[0]) if operands else None
        if name == "tpu.prng_set_seed_32":
            self.random = np.random.default_rng([integer(seed) & 0xFFFFFFFF for seed in operands])
            return None
        shape, element = parse_type(str(op.results[0].type))
        dtype = DTYPES[element]
        match name:
            case "arith.cmpi":
                predicate = number("predicate")
                a, b = (x, operands[1]) if predicate < 6 else map(unsigned, operands)
                return COMPARE_INTEGERS[predicate if predicate < 6 else predicate - 4](a, b)
            case "arith.cmpf":
                a, b = (np.asarray(v).astype(np.float32) for v in operands)
                return COMPARE_FLOATS[number("predicate")](a, b)
            case "arith.select":
                return np.where(x, operands[1], operands[2]).astype(dtype)
            case "vector.broadcast":
                return np.broadcast_to(x, shape)
            case "vector.shape_cast":
                return np.ascontiguousarray(x).reshape(shape)
            case "tpu.transpose":
                return np.transpose(x, int_list(attributes["permutation"]))
            case "tpu.concatenate":
                return np.concatenate(operands, number("dimension"))
            case "vector.extract_strided_slice":
                starts, sizes = (int_list(attributes[key]) for key in ("offsets", "sizes"))
                return x[tuple(slice(a, a + n) for a, n in zip(starts, sizes))]
            case "tpu.iota":
                (axis,) = int_list(attributes["dimensions"])
                return np.broadcast_to(np.arange(shape[axis], dtype=dtype).reshape(
                    [-1 if i == axis else 1 for i in range(len(shape))]), shape)
            case "vector.multi_reduction":
                kind = re.search(r"<(\w+)>", str(attributes["kind"]))[1]
                reduce, combine = REDUCTIONS[kind]
                wide = np.float64 if element[0] in "fb" else np.int64
                axes = tuple(int_list(attributes["reduction_dims"]))
                return combine(reduce(x.astype(wide), axis=axes), operands[1].astype(wide)).astype(dtype)
            case "tpu.matmul":
                numbers = str(attributes["dimension_numbers"]).split("dimension_numbers<", 1)[1]
                return dot(*operands, numbers)
            case "tpu.dynamic_rotate":
                return np.roll(x, integer(operands[1]), number("dimension"))
            case "tpu.dynamic_gather":
                (axis,) = int_list(attributes["dimensions"])
                return np.take_along_axis(x, operands[1].astype(np.int64), axis)
            case "tpu.assume_multiple":
                if integer(x) % number("multiple"):
                    raise ValueError(f"{integer(x)} is no multiple of {number('multiple')}")
                return x
            case "tpu.bitcast":
                return bitcast(x, dtype)
            case "tpu.stochastic_convert":
                noise = operands[1].view(np.uint32) & np.uint32(0xFFFF)
                kept = (np.ascontiguousarray(x).view(np.uint32) + noise) & np.uint32(0xFFFF0000)
                return kept.view(np.float32).astype(dtype)
            case "tpu.prng_random_bits":
                return self.random.integers(-(2**31), 2**31, shape).astype(np.int32)
            case "arith.extf" | "arith.truncf" | "arith.sitofp" | "arith.uitofp" | "arith.fptosi" | (
                "arith.fptoui") | "arith.extsi" | "arith.extui" | "arith.trunci" | "arith.index_cast":
                return convert(name, x, dtype)
        raise NotImplementedError(f"{name}: {op}")

    def control(self, name, op, operands, values):
        if name == "scf.if":
            region = op.regions[0 if bool(operands[0]) else 1]
            return self.region(region.blocks[0], [], values) if len(region.blocks) else []
        if name == "scf.for":
            low, high, step = (integer(x) for x in operands[:3])
            carry = operands[3:]
            for i in range(low, high, step):
                carry = self.region(op.regions[0].blocks[0], [np.int32(i), *carry], values)
            return list(carry)
        if name == "scf.while":
            carry = operands
            while True:
                flag, *carry = self.region(op.regions[0].blocks[0], carry, values)
                if not bool(flag):
                    return carry
                carry = self.region(op.regions[1].blocks[0], carry, values)
        raise NotImplementedError(name)

    def call(self, name, arguments):
        return self.region(self.functions[name].regions[0].blocks[0], arguments, {})

    def run(self, operands, results, aliases):
        with self.context, np.errstate(all="ignore"):
            grid = GridRun(self, operands, results, aliases)
            return grid.run(), grid.fetches


def run(kernel, operands, dma="early"):
    """Runs a kernel that read_kernel returned on NumPy arrays; returns its results."""
    return Evaluator(kernel["text"], dma).run(operands, kernel["results"], kernel["aliases"])[0]


def fetches(kernel, operands):
    """How many blocks of each operand a run copies into VMEM; 0 of those without a window."""
    return Evaluator(kernel["text"]).run(operands, kernel["results"], kernel["aliases"])[1]


def random_operands(kernel, rng, below=4):
    """Normal floats, integers from [0, below)."""
    operands = []
    for text in kernel["operands"]:
        shape, element = parse_type(text)
        dtype = DTYPES[element]
        is_float = element.startswith(("f", "bf"))
        operands.append((rng.standard_normal(shape) if is_float else rng.integers(0, below, shape)).astype(dtype))
    return operands


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--dma", default="early", choices=["early", "late"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kernel = read_kernel(options.file)
    results = run(kernel, random_operands(kernel, np.random.default_rng(options.seed)), options.dma)
    for i, result in enumerate(results):
        wide = result.astype(np.float64)
        print(f"{kernel['name']} result {i}: {result.dtype} {list(result.shape)} "
              f"sum {np.sum(wide):.9g} nan {np.sum(np.isnan(wide))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
