#!/usr/bin/env python3
"""Exact match of the demo's task after fine-tuning on dense bf16 weights and on the same weights in NF4.

Both runs are those of examples/demo but for --quant and --dtype: the same rows, seed and steps; the
base model's weights are widened to bf16, or quantised to NF4 from there. Both answer the whole test
split with the weights that they were trained on. Fails when NF4 ends more than three points below.
"""

import pathlib
import re
import shlex
import tempfile

from run import ROOT, flags_for, run_process, write_report

DEMO = ROOT / "examples" / "demo"
POINTS = 3


def parse_flags():
    parser = flags_for(__doc__, "bench_quality.json")
    return parser.parse_args()


def run(command):
    print(f"$ {shlex.join(command)}", flush=True)
    return run_process(command)[0]


def exact_match(args, quant):
    """Percent of the test split that the fine-tuned model answers exactly."""
    with tempfile.TemporaryDirectory() as scratch:
        weights = ["--model", str(args.model), "--quant", quant, "--dtype", "bf16"]
        run([str(args.sophia), "train", "--config", str(DEMO / "demo.yaml"), "--out", scratch,
             "--save-strategy", "no", *weights])
        text = run([str(args.sophia), "generate", *weights, "--adapter", scratch, "--data", str(DEMO / "test.jsonl"),
                    "--out", str(pathlib.Path(scratch, "answers.jsonl")), "--exact-match",
                    "--max-new-tokens", "48", "--batch-size", "25"])
    found = re.search(r"exact match: (\d+) of (\d+)", text)
    return 100 * int(found[1]) / int(found[2])


def main():
    args = parse_flags()
    result = {quant: exact_match(args, quant) for quant in ("none", "nf4")}
    below = result["none"] - result["nf4"]
    print(f"exact match: bf16 {result['none']:.1f} %, NF4 {result['nf4']:.1f} %, {below:+.1f} points below")
    write_report(args.out, result | {"points_below": below})
    if below > POINTS:
        raise SystemExit(f"expected NF4 within {POINTS} points of bf16, got {below:.1f} below")


if __name__ == "__main__":
    main()
