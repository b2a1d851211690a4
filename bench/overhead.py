#!/usr/bin/env python3
"""What checkpoints and the live page cost a run of `sophia train`.

Runs of equal steps on the CPU, each round in turn: plain, with a checkpoint every 50 steps, and with --serve while a
browser's requests come as the page makes them. Prints for each the median over the rounds of its seconds to the plain
run's of the same round, and of a second plain run for the spread, and writes build/bench_overhead.json.
"""

import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from run import flags_for, write_report, write_rows

BATCH, SEQ = 2, 64
POLL_SECONDS = 2  # as the page asks
VARIANTS = {
    "plain": ["--save-strategy", "no"],
    "checkpoints": ["--save-strategy", "steps", "--save-steps", "50", "--save-total-limit", "2"],
    "live page": ["--save-strategy", "no", "--serve", "0"],
    "plain again": ["--save-strategy", "no"],
}


def parse_flags():
    parser = flags_for(__doc__, "bench_overhead.json")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def ask_as_a_browser(page_url, ended):
    url = urllib.parse.urlsplit(page_url)._replace(path="/body").geturl()
    while not ended.is_set():
        with urllib.request.urlopen(url, timeout=10) as page:
            page.read()
        ended.wait(POLL_SECONDS)


def run_variant(args, rows, name):
    """Seconds of the run's steps and of what it waits for after them."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(args.sophia), "train", "--model", str(args.model), "--data", str(rows), "--out", out,
                   "--dtype", "bf16", "--max-steps", str(args.steps), "--per-device-train-batch-size", str(BATCH),
                   *VARIANTS[name]]
        print(f"$ {shlex.join(command)}", flush=True)
        ended, said = threading.Event(), ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as run:
            browser = None
            for line in run.stdout:
                said += line
                if found := re.match(r"live page: (\S+)", line):
                    browser = threading.Thread(target=ask_as_a_browser, args=(found[1], ended))
                    browser.start()
                if line.startswith("step: "):
                    start = time.perf_counter()
                if re.match(r"\d+ steps in ", line):
                    ended.set()
            run.wait()
            seconds = time.perf_counter() - start
        if browser:
            browser.join()
        if run.returncode:
            raise SystemExit(f"expected exit 0, got {run.returncode}: {said}")
    print(f"  {seconds:.2f} s", flush=True)
    return seconds


def main():
    args = parse_flags()
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        rows = pathlib.Path(scratch, "rows.jsonl")
        write_rows(rows, 64, SEQ)
        for _ in range(args.rounds):
            rounds.append({name: run_variant(args, rows, name) for name in VARIANTS})
    ratios = {name: [one[name] / one["plain"] for one in rounds] for name in VARIANTS if name != "plain"}
    print(f"\n{args.steps} steps of {BATCH}x{SEQ} tokens, {args.rounds} rounds\n"
          "| | to the plain run, median | least | most |\n|---|---|---|---|")
    for name, values in ratios.items():
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    write_report(args.out, {"rounds": rounds, "ratios": ratios})


if __name__ == "__main__":
    sys.exit(main())
