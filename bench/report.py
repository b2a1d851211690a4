"""What bench/run.py makes of its records: ratios to the targets of issue 3, and tables."""

SPEED, MEMORY = "tokens_per_second", "peak_rss_mb"
TORCH = ("torch", "torch-compile")
DTYPES = ("f32", "bf16")
TRACE_TARGET_MS = 100


class Shape:
    """The records of one batch shape."""

    def __init__(self, records, batch, seq):
        self.name = f"{batch}x{seq}"
        self.records = [r for r in records if (r["batch"], r["seq"]) == (batch, seq)]

    def best(self, key, choose, programs, dtypes=DTYPES):
        """The largest or smallest figure of the programs, None where none ran."""
        values = [r[key] for r in self.records if r["program"] in programs and r["dtype"] in dtypes]
        return choose(values) if values else None


def ratio(shape, name, ours, theirs, target, at_least):
    """A list of one entry, or of none where a side did not run."""
    if ours is None or theirs is None:
        return []
    value = ours / theirs
    met = value >= target if at_least else value <= target
    return [{"shape": shape, "ratio": name, "value": value, "target": target, "met": met}]


def speed_ratios(shape):
    ours = ("sophia",)
    return [
        *ratio(shape.name, "speed, best dtype of each, to torch", shape.best(SPEED, max, ours),
               shape.best(SPEED, max, TORCH), 1.3, True),
        *ratio(shape.name, "speed, f32, to torch", shape.best(SPEED, max, ours, ("f32",)),
               shape.best(SPEED, max, TORCH, ("f32",)), 1.5, True),
        *ratio(shape.name, "speed, f32, to jax", shape.best(SPEED, max, ours, ("f32",)),
               shape.best(SPEED, max, ("jax",), ("f32",)), 1.5, True),
    ]


def memory_ratios(shape):
    """Against each peer in the same element type; of torch's two, the smaller."""
    return [
        entry
        for dtype in DTYPES
        for peer, programs in (("torch", TORCH), ("jax", ("jax",)))
        for entry in ratio(shape.name, f"peak memory, {dtype}, to {peer}",
                           shape.best(MEMORY, max, ("sophia",), (dtype,)),
                           shape.best(MEMORY, min, programs, (dtype,)), 1 / 3, False)
    ]


def time_ratios(shape):
    ours = ("sophia",)
    return [
        *ratio(shape.name, "compile seconds, our longest",
               shape.best("compile_seconds", max, ours), 1, 10, False),
        *ratio(shape.name, "load seconds, our longest",
               shape.best("load_seconds", max, ours), 1, 3, False),
    ]


def ratios_of(records, shapes, trace):
    """Entries for every (batch, seq) of shapes, and for the tracing of an 8B step where it ran."""
    entries = []
    for batch, seq in shapes:
        shape = Shape(records, batch, seq)
        entries += speed_ratios(shape) + memory_ratios(shape) + time_ratios(shape)
    if trace:
        entries += ratio("8B", "trace and emit, milliseconds", trace["trace_milliseconds"], 1,
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


def print_ratios(ratios):
    print()
    for entry in ratios:
        print(f"{entry['shape']:>7} {entry['ratio']:46} {entry['value']:5.2f}  "
              f"target {entry['target']:.2f}  {'met' if entry['met'] else 'missed'}")
