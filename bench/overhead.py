#!/usr/bin/env python3
"""What checkpoints and the live page cost a run of `sophia train`.

Runs of equal steps on the CPU, each round in turn: plain, with checkpoints, with --serve and a browser's requests, and
plain again for the spread. A machine's speed changes by more than the 1 % that either may cost, so checkpoints come 25
times and requests 3 times as often as they would (the server builds a page at most twice a second), and what they add is
divided by that. Prints the medians over the rounds, writes build/bench_overhead.json, and fails where one costs more than
1 %.
"""

import contextlib
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from run import flags_for, write_report, write_rows

BATCH, SEQ = 2, 64
SAVE_STEPS, SAVES_TOO_OFTEN = 50, 25
POLL_SECONDS, POLLS_TOO_OFTEN = 2, 3  # as the page asks
MOST = 0.01  # of the plain run
VARIANTS = {
    "plain": ["--save-strategy", "no"],
    "checkpoints": ["--save-strategy", "steps", "--save-steps", str(SAVE_STEPS // SAVES_TOO_OFTEN),
                    "--save-total-limit", "2"],
    "live page": ["--save-strategy", "no", "--serve", "0"],
    "plain again": ["--save-strategy", "no"],
}
TOO_OFTEN = {"checkpoints": SAVES_TOO_OFTEN, "live page": POLLS_TOO_OFTEN, "plain again": 1}


def parse_flags():
    parser = flags_for(__doc__, "bench_overhead.json")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def ask_as_a_browser(page_url, ended):
    url = urllib.parse.urlsplit(page_url)._replace(path="/body").geturl()
    while not ended.is_set():
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=10) as page:  # it may have ended
            page.read()
        ended.wait(POLL_SECONDS / POLLS_TOO_OFTEN)


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
    costs = {name: [(one[name] / one["plain"] - 1) / often for one in rounds] for name, often in TOO_OFTEN.items()}
    print(f"\n{args.steps} steps of {BATCH}x{SEQ} tokens, {args.rounds} rounds; a checkpoint every {SAVE_STEPS} steps, "
          f"a request every {POLL_SECONDS} s\n| | adds, median | least | most |\n|---|---|---|---|")
    for name, values in costs.items():
        print(f"| {name} | {statistics.median(values):.2%} | {min(values):.2%} | {max(values):.2%} |")
    write_report(args.out, {"rounds": rounds, "costs": costs})
    dear = [name for name in ("checkpoints", "live page") if statistics.median(costs[name]) > MOST]
    if dear:
        print(f"expected at most {MOST:.0%} of the run, got more for {' and '.join(dear)}")
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
