#!/usr/bin/env python3
"""Evaluates the text of a Mosaic kernel in NumPy, without a TPU and apart from the engine's own IR.

    eval_mosaic.py FILE.mlir [--dma late] [--seed N]    runs it on random inputs, prints checksums
    read_kernel(path), run(kernel, operands)            as a library

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
import itertools
import json
import pathlib
import re
import sys

import ml_dtypes
import numpy as np
from jax._src.interpreters import mlir as jax_mlir
from jax._src.lib import tpu
from jaxlib.mlir import ir
from jaxlib.mlir.passmanager import PassManager
from mosaic_ops import (COMPARE_FLOATS, COMPARE_INTEGERS, DTYPES, ELEMENTWISE, REDUCTIONS, SIGNLESS,
                        bitcast, bits_of, convert, dot, unsigned)


def read_kernel(path):
    """The header's fields and the text: operands, results (MLIR types), aliases, text."""
    text = pathlib.Path(path).read_text()
    fields = dict(re.findall(r"^// (\w+): ?(.*)$", text, re.M))
    types = {key: re.findall(r"tensor<[^>]*>", fields[key]) for key in ("operands", "results")}
    return {"name": fields["name"], "text": text, "aliases": json.loads(fields["aliases"]), **types}


def parse_type(text):
    """'vector<8x128xf32>' or 'memref<2x!tpu.dma_semaphore, ..>' -> (shape, element)"""
    match = re.match(r"(?:vector|memref|tensor)<((?:\d+x)*)([!\w.]+)", text)
    if not match:
        return (), text
    return tuple(int(size) for size in match[1].split("x") if size), match[2]


class Semaphore:
    """Bits that arrived, and copies that "late" holds back."""

    def __init__(self):
        self.arrived = 0
        self.pending = []


def garbage(shape, element):
    if "semaphore" in element:
        semaphores = np.empty(shape, object)
        for index in np.ndindex(*shape):
            semaphores[index] = Semaphore()
        return semaphores
    dtype = np.dtype(DTYPES[element])
    if element.startswith(("f", "bf")):
        return np.full(shape, np.nan, dtype)
    return np.full(shape, -3 if bits_of(dtype) == 4 else 77, np.int32).astype(dtype)


class Ref:
    """A memref: a NumPy view."""

    def __init__(self, array):
        self.array = array

    def part(self, starts, sizes):
        """Index of a rectangle; leading sizes of 1 may be left out. Raises out of bounds."""
        sizes = [1] * (self.array.ndim - len(sizes)) + list(sizes)
        for start, size, total in zip(starts, sizes, self.array.shape):
            if start < 0 or start + size > total:
                raise IndexError(f"part {starts} {sizes} of {self.array.shape} is out of bounds")
        return tuple(slice(start, start + size) for start, size in zip(starts, sizes))


def integer(value):
    return int(np.asarray(value).reshape(()))


def int_list(attribute):
    text = str(attribute)
    if text.startswith("array<"):
        text = text.split(":", 1)[1] if ":" in text else ""
    return [int(number) for number in re.findall(r"-?\d+", re.sub(r": i\d+", "", text))]


class Evaluator:
    def __init__(self, text, dma="early"):
        self.dma = dma
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
        self.outstanding = 0

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
            return self.memory(name, op, operands)
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

    def memory(self, name, op, operands):
        attributes = op.attributes
        match name:
            case "vector.load":
                shape, _ = parse_type(str(op.results[0].type))
                ref = operands[0]
                part = ref.part([integer(i) for i in operands[1:]], shape)
                return ref.array[part].copy().reshape(shape)
            case "tpu.vector_store":
                segments = int_list(attributes["operandSegmentSizes"])
                value, ref = np.asarray(operands[0]), operands[1]
                part = ref.part([integer(i) for i in operands[2 : 2 + segments[2]]], value.shape)
                value = value.reshape(ref.array[part].shape)
                if segments[3]:
                    mask = np.asarray(operands[-1]).reshape(value.shape)
                    value = np.where(mask, value, ref.array[part])
                ref.array[part] = value
                return None
            case "memref.load":
                ref = operands[0]
                return ref.array[ref.part([integer(i) for i in operands[1:]], [1] * ref.array.ndim)].reshape(())
            case "memref.store":
                ref = operands[1]
                ref.array[ref.part([integer(i) for i in operands[2:]], [1] * ref.array.ndim)] = operands[0]
                return None
            case "tpu.memref_slice":
                shape, _ = parse_type(str(op.results[0].type))
                starts = [integer(i) for i in operands[1 : 1 + len(shape)]]
                return Ref(operands[0].array[operands[0].part(starts, shape)])
            case "tpu.memref_squeeze":
                view = operands[0].array.view()
                view.shape = parse_type(str(op.results[0].type))[0]
                return Ref(view)
            case "tpu.enqueue_dma":
                self.start_dma(*operands)
                return None
            case "tpu.wait_dma2":
                self.wait_dma(*operands)
                return None
        raise NotImplementedError(f"{name}: {op}")

    def start_dma(self, source, target, semaphore):
        if source.array.shape != target.array.shape or source.array.dtype != target.array.dtype:
            raise ValueError("a DMA between refs of two shapes or types")
        self.outstanding += 1
        semaphore = semaphore.array[()]
        copy = (source.array, target.array, source.array.size * bits_of(source.array.dtype))
        semaphore.pending.append(copy)
        if self.dma == "early":
            self.deliver(semaphore)

    @staticmethod
    def deliver(semaphore):
        source, target, bits = semaphore.pending.pop(0)
        target[...] = source
        semaphore.arrived += bits

    def wait_dma(self, semaphore, source, target):
        semaphore = semaphore.array[()]
        bits = target.array.size * bits_of(target.array.dtype)
        while semaphore.pending and semaphore.arrived < bits:
            self.deliver(semaphore)
        if semaphore.arrived < bits:
            raise ValueError("deadlock: a DMA is waited for that was not started")
        semaphore.arrived -= bits
        self.outstanding -= 1

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
            return GridRun(self, operands, results, aliases).run()


class GridRun:
    """One run of the main function over its grid."""

    def __init__(self, evaluator, operands, results, aliases):
        self.evaluator = evaluator
        attributes = evaluator.main.attributes
        self.body = evaluator.main.regions[0].blocks[0]
        count = lambda key: ir.IntegerAttr(attributes[key]).value if key in attributes else 0
        self.prefetch = count("scalar_prefetch")
        self.grid = int_list(attributes["iteration_bounds"]) if "iteration_bounds" in attributes else []
        types = [parse_type(str(argument.type)) for argument in self.body.arguments]
        types = types[len(self.grid) :]

        operands = [np.array(x) for x in operands]
        outputs = [garbage(*parse_type(result)) for result in results]
        for operand, output in aliases:
            outputs[output] = operands[operand]
        self.outputs, self.first_output = outputs, len(operands)
        self.arrays = [x.view(SIGNLESS[x.dtype]) if x.dtype in SIGNLESS and bits_of(x.dtype) > 4
                       else x.astype(np.int8).astype(ml_dtypes.int4) if bits_of(x.dtype) == 4 else x
                       for x in operands + outputs]
        if len(types) != len(self.arrays) + count("scratch_operands"):
            raise ValueError(f"expected {len(self.arrays)} arrays and scratch, got {len(types)} refs")
        self.types = types[: len(self.arrays)]
        self.scratch = [Ref(garbage(*kind)) for kind in types[len(self.arrays) :]]
        self.windows = [None] * len(self.arrays)
        if "window_params" in attributes:
            params = ir.ArrayAttr(attributes["window_params"])
            if len(params) != len(self.arrays) - self.prefetch:
                raise ValueError("expected one entry of window_params for each array")
            for i, entry in enumerate(params, self.prefetch):
                entry = ir.DictAttr(entry)
                if "transform_indices" in entry:
                    transform = ir.FlatSymbolRefAttr(entry["transform_indices"]).value
                    self.windows[i] = (transform, int_list(entry["window_bounds"]))
        self.index = [None] * len(self.arrays)
        self.block = [None] * len(self.arrays)

    def clip(self, i):
        """The current block's part of array i, and that part's place in the block."""
        place, inner = [], []
        for index, size, total in zip(self.index[i], self.windows[i][1], self.arrays[i].shape):
            low, high = index * size, min(index * size + size, total)
            if not 0 <= low < total:
                raise ValueError(f"block {self.index[i]} of array {i} lies outside")
            place.append(slice(low, high))
            inner.append(slice(0, high - low))
        return tuple(place), tuple(inner)

    def flush(self, i):
        if self.index[i] is not None and i >= self.first_output:
            place, inner = self.clip(i)
            self.arrays[i][place] = self.block[i].array.reshape(self.windows[i][1])[inner]

    def move_to(self, i, index):
        if index == self.index[i]:
            return
        self.flush(i)
        self.index[i] = index
        shape, element = self.types[i]
        block = garbage(self.windows[i][1], element)
        place, inner = self.clip(i)
        if i < self.first_output:
            block[inner] = self.arrays[i][place]
        self.block[i] = Ref(block.reshape(shape))

    def run(self):
        evaluator = self.evaluator
        scalars = [Ref(self.arrays[i]) for i in range(self.prefetch)]
        for point in itertools.product(*map(range, self.grid)):
            ids = [np.int32(p) for p in point]
            for i, window in enumerate(self.windows):
                if window is None:
                    self.block[i] = Ref(self.arrays[i])
                else:
                    self.move_to(i, [integer(x) for x in evaluator.call(window[0], ids + scalars)])
            evaluator.region(self.body, ids + self.block + self.scratch, {})
        for i, window in enumerate(self.windows):
            if window is not None:
                self.flush(i)
        if evaluator.outstanding:
            raise ValueError(f"{evaluator.outstanding} DMAs were never waited for")
        return self.outputs


def run(kernel, operands, dma="early"):
    """Runs a kernel that read_kernel returned on NumPy arrays; returns its results."""
    return Evaluator(kernel["text"], dma).run(operands, kernel["results"], kernel["aliases"])


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
