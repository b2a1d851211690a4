#!/usr/bin/env python3
"""Speed and peak memory of LoRA fine-tuning of SmolLM2-135M: this engine beside torch and JAX.

`sophia` holds dense weights (--quant none), as the peers do; `sophia-packed` is the default. Every
program does the same steps (rank 16 on all linears, AdamW, all labels trained) on the same cores,
one at a time, in turn, for some rounds; beside that, the tracing of an 8B step is timed. Prints each
command, a table and the ratios to the targets, and writes them to build/bench.json.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

from report import AS_IT_COMES, DENSE, DTYPES, print_ratios, print_table, ratios_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEERS = ROOT / "bench" / "peers"
# Ours, and the flags of each.
OURS = {DENSE: ["--quant", "none"], AS_IT_COMES: []}
PROGRAMS = (*OURS, "torch", "torch-compile", "jax")
SHAPES = ((4, 128), (1, 512))  # batch, seq
VOCAB = 49152


@dataclasses.dataclass(frozen=True)
class Workload:
    batch: int
    seq: int
    dtype: str
    steps: int  # timed
    warmup: int


def flags_for(description, report):
    """A parser with what every benchmark of the program on SmolLM2 takes; `report`: a file's name below build/."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--sophia", type=pathlib.Path, default=ROOT / "build" / "sophia")
    parser.add_argument("--model", type=pathlib.Path,
                        default=ROOT / ".deps" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / report)
    return parser


def write_report(path, report):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def parse_flags():
    parser = flags_for(__doc__, "bench.json")
    parser.add_argument("--trace-bench", type=pathlib.Path,
                        default=ROOT / "build" / "bench" / "trace_bench")
    parser.add_argument("--peer-python", type=pathlib.Path,
                        default=ROOT / ".deps" / "venv-oracle" / "bin" / "python")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--shapes", nargs="+", default=[f"{b}x{s}" for b, s in SHAPES],
                        metavar="BATCHxSEQ")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="timed steps a round")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the timed ones")
    parser.add_argument("--cores", type=int, default=0, help="0: all that this process may use")
    return parser.parse_args()


def run_process(command, **variables):
    """Runs the command to its end: (standard output, peak resident MB, seconds)."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env={**os.environ, **variables})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            tail = "".join(err.readlines()[-10:])
            raise SystemExit(f"{tail}{shlex.join(command)}: expected exit 0, got {process.returncode}")
        return out.read(), usage.ru_maxrss / 1024, seconds


def write_rows(path, count, seq):
    """Pre-tokenised rows of exactly `seq` random ids, every one of them trained."""
    generator = random.Random(0)
    with path.open("w") as file:
        for _ in range(count):
            ids = [generator.randrange(VOCAB) for _ in range(seq)]
            file.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def run_sophia(args, program, work):
    """`sophia train` from the GGUF file over generated rows; speed from its metrics.jsonl."""
    with tempfile.TemporaryDirectory() as scratch:
        rows, out = pathlib.Path(scratch, "rows.jsonl"), pathlib.Path(scratch, "out")
        steps = work.warmup + work.steps
        write_rows(rows, work.batch * steps, work.seq)
        command = [
            str(args.sophia), "train", "--model", str(args.model), "--data", str(rows),
            "--out", str(out), "--dtype", work.dtype, "--max-steps", str(steps),
            "--per-device-train-batch-size", str(work.batch), "--gradient-accumulation-steps", "1",
            "--max-length", str(work.seq), "--lora-r", "16", "--lora-alpha", "32",
            "--lora-dropout", "0", "--lora-target-modules", "all-linear", "--learning-rate", "2e-4",
            "--lr-scheduler-type", "constant", "--weight-decay", "0", "--max-grad-norm", "0",
            "--no-shuffle", "--save-strategy", "no", *OURS[program],
        ]
        output, peak_rss_mb, seconds = run_process(command, SOPHIA_CACHE_DIR="")
        metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    if len(metrics) != steps:
        raise SystemExit(f"metrics.jsonl: expected {steps} steps, got {len(metrics)}")
    speed = statistics.median(step["tokens_per_second"] for step in metrics[work.warmup :])
    return {"command": shlex.join(command), "tokens_per_second": speed, "seconds": seconds,
            "peak_rss_mb": peak_rss_mb, "loss_first": metrics[0]["loss"],
            "loss_last": metrics[-1]["loss"],
            "compile_seconds": seconds_after("compiled in", output),
            "load_seconds": seconds_after("loaded in", output)}


def seconds_after(words, output):
    """The number in `words NUMBER s` of what the engine printed."""
    match = re.search(rf"{words} ([0-9.]+) s", output)
    if not match:
        raise SystemExit(f"sophia train: expected a line with '{words} … s', got\n{output}")
    return float(match[1])


def run_peer(args, program, work):
    script = "jax_lora.py" if program == "jax" else "torch_lora.py"
    command = [
        str(args.peer_python), str(PEERS / script), "--batch", str(work.batch), "--seq",
        str(work.seq), "--dtype", work.dtype, "--steps", str(work.steps), "--warmup",
        str(work.warmup), *(["--compile"] if program == "torch-compile" else []),
    ]
    output, peak_rss_mb, seconds = run_process(command)
    result = json.loads(output.splitlines()[-1])
    return {"command": shlex.join(command), "seconds": seconds, "peak_rss_mb": peak_rss_mb,
            **{key: result[key] for key in ("tokens_per_second", "loss_first", "loss_last",
                                            "compile_seconds")}}


def run_all(args):
    """One record per program and workload: medians over the rounds."""
    works = [
        Workload(*map(int, shape.split("x")), dtype, args.steps, args.warmup)
        for shape in args.shapes for dtype in args.dtypes
    ]
    rounds = {}
    for number in range(args.rounds):
        for work in works:
            for program in args.programs:
                run = run_sophia if program in OURS else run_peer
                result = run(args, program, work)
                if number == 0:
                    print(f"$ {result['command']}", flush=True)
                print(f"  round {number + 1}: {result['tokens_per_second']:.0f} tokens/s, "
                      f"{result['peak_rss_mb']:.0f} MB", flush=True)
                rounds.setdefault((work, program), []).append(result)
    return [summary(work, program, results) for (work, program), results in rounds.items()]


def summary(work, program, results):
    def median(key):
        return statistics.median(result[key] for result in results)

    return {
        "program": program, "batch": work.batch, "seq": work.seq, "dtype": work.dtype,
        "tokens_per_second": median("tokens_per_second"), "peak_rss_mb": median("peak_rss_mb"),
        "seconds": median("seconds"), "rounds": results,
        **{key: median(key) for key in ("compile_seconds", "load_seconds") if key in results[0]},
    }


def run_trace(args):
    """Milliseconds to trace and print a training step of a 32-layer model of 8B parameters."""
    command = [str(args.trace_bench)]
    print(f"$ {shlex.join(command)}", flush=True)
    return {"command": shlex.join(command), **json.loads(run_process(command)[0])}


def machine(cores):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": cores}


def peer_versions(args):
    code = ("import importlib.metadata as m, json; print(json.dumps({p: m.version(p) for p in "
            "('torch', 'transformers', 'peft', 'jax', 'optax')}))")
    return json.loads(run_process([str(args.peer_python), "-c", code])[0])


def main():
    args = parse_flags()
    usable = sorted(os.sched_getaffinity(0))
    cores = usable[: args.cores or None]
    os.sched_setaffinity(0, cores)
    peers = [program for program in args.programs if program not in OURS]
    report = {"machine": machine(len(cores)), "peers": peer_versions(args) if peers else {}}
    print(f"{report['machine']['cpu']}, {len(cores)} cores; {report['peers']}", flush=True)
    report["records"] = run_all(args)
    report["trace"] = run_trace(args) if set(OURS) & set(args.programs) else {}
    shapes = [tuple(map(int, shape.split("x"))) for shape in args.shapes]
    report["ratios"] = ratios_of(report["records"], shapes, report["trace"])
    print_table(report["records"])
    print_ratios(report["ratios"])
    write_report(args.out, report)
    print(f"\nwritten to {args.out}")


if __name__ == "__main__":
    sys.exit(main())
