#!/usr/bin/env python3
"""Useful tokens a second of `sophia train` on rows of mixed lengths, packed and not.

The lengths are log-normal, as those of instruction sets are: median 96, at most 512 tokens. Both runs go once through
the same rows on the CPU; useful tokens are those of the rows, without padding. A third run streams short texts, several
windows of 1,024 rows of them: how long its steps wait for them. Prints the ratio and the wait and writes them to
build/bench_packing.json.
"""

import json
import pathlib
import random
import re
import shlex
import sys
import tempfile

from run import VOCAB, flags_for, run_process, write_report

MEDIAN, SPREAD, LONGEST = 96, 0.8, 512
WINDOWS, STREAMED_STEPS = 4, 40


def parse_flags():
    parser = flags_for(__doc__, "bench_packing.json")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dtype", default="bf16")
    return parser.parse_args()


def write_mixed_rows(path, count):
    """Rows of random ids, the last half of each trained; the number of their tokens."""
    generator = random.Random(0)
    tokens = 0
    with path.open("w") as file:
        for row in range(count):
            drawn = round(MEDIAN * generator.lognormvariate(0, SPREAD))
            length = LONGEST if row == 0 else min(LONGEST, max(8, drawn))
            ids = [generator.randrange(VOCAB) for _ in range(length)]
            labels = [-100] * (length // 2) + ids[length // 2 :]
            file.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
            tokens += length
    return tokens


def run_train(args, rows, out, *flags):
    """What a run on these rows prints, and its peak resident MB."""
    command = [
        str(args.sophia), "train", "--model", str(args.model), "--data", str(rows), "--out", str(out),
        "--dtype", args.dtype, "--per-device-train-batch-size", str(args.batch), "--max-length", str(LONGEST),
        "--save-strategy", "no", *flags,
    ]
    print(f"$ {shlex.join(command)}", flush=True)
    output, peak_rss_mb, _ = run_process(command)
    return output, peak_rss_mb


def run_epoch(args, flag):
    with tempfile.TemporaryDirectory() as scratch:
        rows, out = pathlib.Path(scratch, "rows.jsonl"), pathlib.Path(scratch, "out")
        tokens = write_mixed_rows(rows, args.rows)
        output, peak_rss_mb = run_train(args, rows, out, "--num-train-epochs", "1", flag)
    steps, seconds = re.search(r"(\d+) steps in ([0-9.]+) s", output).groups()
    result = {"steps": int(steps), "seconds": float(seconds), "peak_rss_mb": peak_rss_mb,
              "tokens_per_second": tokens / float(seconds)}
    print(f"  {steps} steps in {seconds} s: {result['tokens_per_second']:.0f} useful tokens/s, "
          f"{peak_rss_mb:.0f} MB", flush=True)
    return result


def wait_share(args):
    """Of the steps' time, what they waited for rows of text that are read, encoded and packed meanwhile."""
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        rows, out = pathlib.Path(scratch, "rows.jsonl"), pathlib.Path(scratch, "out")
        with rows.open("w") as file:
            for row in range(WINDOWS * 1024):
                file.write(json.dumps({"text": f"Row {row} says that {generator.random()} is a number."}) + "\n")
        run_train(args, rows, out, "--streaming", "--max-steps", str(STREAMED_STEPS))
        steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    waited, worked = (sum(step[key] for step in steps) for key in ("data_wait_seconds", "step_seconds"))
    print(f"  {waited:.3f} s waited in {len(steps)} steps of {worked:.1f} s, {steps[-1]['epoch']:.2f} epochs", flush=True)
    return waited / worked


def main():
    args = parse_flags()
    report = {flag: run_epoch(args, f"--{flag}") for flag in ("no-packing", "packing")}
    report["ratio"] = (report["packing"]["tokens_per_second"]
                       / report["no-packing"]["tokens_per_second"])
    print(f"packing: {report['ratio']:.2f} times the useful tokens a second")
    report["waited"] = wait_share(args)
    print(f"streaming: steps waited {report['waited']:.3%} of their time for rows")
    write_report(args.out, report)


if __name__ == "__main__":
    sys.exit(main())
