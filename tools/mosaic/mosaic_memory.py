"""Arrays of a Mosaic kernel: refs, loads and stores, DMAs and their semaphores."""

import re

import numpy as np
from mosaic_ops import DTYPES, bits_of


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


class Memory:
    """Accesses of a running kernel. `dma` says when a copy moves its data, see eval_mosaic.py."""

    def __init__(self, dma):
        self.dma = dma
        self.outstanding = 0

    def step(self, name, op, operands):
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
