"""What bench/run.py makes of its records: ratios to the speed and memory targets, and tables.

The targets are for `sophia-packed`, the engine as it comes: the weights that the GGUF file has packed
stay so. `sophia` (--quant none) holds dense weights as its peers do; its ratios are printed beside.
"""

SPEED, MEMORY = "tokens_per_second", "peak_rss_mb"
AS_IT_COMES, DENSE = "sophia-packed", "sophia"
TORCH = ("torch", "torch-compile")
DTYPES = ("f32", "bf16")
TRACE_TARGET_MS = 100


class Shape:
    """The records of one batch shape."""

    def __init__(self, records, batch, seq):
        self.name = f"{batch}x{seq}"
        self.records = [r for r in records if (r["batch"], r["seq"]) == (batch, seq)]

    def best(self, key, choose, programs, dtypes=DTYPES):
        """The record with the largest or smallest figure of the programs, None where none ran."""
        records = [r for r in self.records if r["program"] in programs and r["dtype"] in dtypes]
        return choose(records, key=lambda record: record[key]) if records else None


def entry(shape, what, against, value, dense, target, at_least):
    """A list of one ratio, or of none where neither of our programs ran."""
    if value is None and dense is None:
        return []
    met = value is not None and (value >= target if at_least else value <= target)
    return [{"shape": shape, "ratio": what, "against": against, "value": value, "dense": dense,
             "target": target, "met": None if value is None else met}]


def compared(shape, what, key, peers, ours, theirs, target, dtypes=DTYPES):
    """Our best record by `ours` (max or min) over the peers' best by `theirs`."""
    peer = shape.best(key, theirs, peers, dtypes)
    if peer is None:
        return []
    records = [shape.best(key, ours, (program,), dtypes) for program in (AS_IT_COMES, DENSE)]
    value, dense = (record and record[key] / peer[key] for record in records)
    return entry(shape.name, what, f"{peer['program']} {peer['dtype']}", value, dense, target,
                 key == SPEED)


def speed_ratios(shape):
    return [
        *compared(shape, "speed, best dtype of each", SPEED, TORCH, max, max, 1.3),
        *compared(shape, "speed, f32", SPEED, TORCH, max, max, 1.5, ("f32",)),
        *compared(shape, "speed, f32", SPEED, ("jax",), max, max, 1.5, ("f32",)),
    ]


def memory_ratios(shape):
    """Against each peer in the same element type; of torch's two, the smaller."""
    return [
        found
        for dtype in DTYPES
        for peers in (TORCH, ("jax",))
        for found in compared(shape, f"peak memory, {dtype}", MEMORY, peers, max, min, 1 / 3, (dtype,))
    ]


def time_ratios(shape):
    entries = []
    for what, key, target in (("compile seconds, our longest", "compile_seconds", 10),
                              ("load seconds, our longest", "load_seconds", 3)):
        records = [shape.best(key, max, (program,)) for program in (AS_IT_COMES, DENSE)]
        value, dense = (record and record[key] for record in records)
        entries += entry(shape.name, what, "", value, dense, target, False)
    return entries


def ratios_of(records, shapes, trace):
    """Entries for every (batch, seq) of shapes, and for the tracing of an 8B step where it ran."""
    entries = []
    for batch, seq in shapes:
        shape = Shape(records, batch, seq)
        entries += speed_ratios(shape) + memory_ratios(shape) + time_ratios(shape)
    if trace:
        entries += entry("8B", "trace and emit, milliseconds", "", trace["trace_milliseconds"], None,
                         TRACE_TARGET_MS, False)
    return entries


def seconds_of(record, key):
    return f"{record[key]:.1f}" if key in record else ""


def print_table(records):
    print(f"\n{'shape':>7} {'dtype':5} {'program':14} {'tokens/s':>9} {'peak MB':>8} {'load s':>7} "
          f"{'compile s':>10} {'whole run s':>12}")
    for record in records:
        shape = f"{record['batch']}x{record['seq']}"
        print(f"{shape:>7} {record['dtype']:5} {record['program']:14} "
              f"{record[SPEED]:9.0f} {record[MEMORY]:8.0f} "
              f"{seconds_of(record, 'load_seconds'):>7} "
              f"{seconds_of(record, 'compile_seconds'):>10} {record['seconds']:12.1f}")


def figure(value):
    return "" if value is None else f"{value:.2f}"


def print_ratios(ratios):
    print(f"\n{'shape':>7} {'ratio':30} {'to':19} {AS_IT_COMES:>13} {'target':>7} {'':7} {DENSE:>7}")
    for found in ratios:
        verdict = {None: "", True: "met", False: "missed"}[found["met"]]
        print(f"{found['shape']:>7} {found['ratio']:30} {found['against']:19} "
              f"{figure(found['value']):>13} {found['target']:7.2f} {verdict:7} "
              f"{figure(found['dense']):>7}")
    print(f"The targets are for {AS_IT_COMES}, the default; {DENSE} (--quant none) holds dense weights "
          "as its peers do.")
