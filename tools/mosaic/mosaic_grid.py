"""The grid of a Mosaic kernel: which block of each array a program sees, and what is written back."""

import itertools

import ml_dtypes
import numpy as np
from jaxlib.mlir import ir
from mosaic_memory import Ref, garbage, int_list, integer, parse_type
from mosaic_ops import SIGNLESS, bits_of


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
        self.fetches = [0] * len(operands)
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
            self.fetches[i] += 1
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
        if evaluator.memory.outstanding:
            raise ValueError(f"{evaluator.memory.outstanding} DMAs were never waited for")
        return self.outputs
