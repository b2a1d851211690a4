#!/usr/bin/env python3
"""How long a context of Llama-3.1-8B fits one v5e chip: hand-written JAX against `sophia plan`, by the same libtpu.

Searches the longest multiple of 1,024 tokens at which bench/peers/jax_contexts.py compiles, then plans ours at the same
length and at its own longest of bench/contexts.py. Writes build/bench_peer_contexts.json.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import contexts
from run import ROOT

STEP = 1024
TOPOLOGY = "v5e:1x1"
PEER = ROOT / "bench" / "peers" / "jax_contexts.py"


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sophia", type=pathlib.Path, default=ROOT / "build" / "sophia")
    parser.add_argument("--libtpu", type=pathlib.Path, default=ROOT / ".deps" / "plugins" / "libtpu.so")
    parser.add_argument("--peer-python", type=pathlib.Path, default=ROOT / ".deps" / "venv-oracle" / "bin" / "python")
    parser.add_argument("--longest", type=int, default=32 * STEP, help="a context at which the peer does not fit")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "bench_peer_contexts.json")
    return parser.parse_args()


def compile_peer(args, tokens):
    """In a process of its own, as libtpu can die."""
    command = [str(args.peer_python), str(PEER), "--model", str(ROOT / "examples" / "plan" / contexts.LLAMA_8B),
               "--topology", TOPOLOGY, "--tokens", str(tokens)]
    result = subprocess.run(command, capture_output=True, text=True, check=False,
                            env=os.environ | {"TPU_LIBRARY_PATH": str(args.libtpu.resolve())})
    if result.returncode != 0:
        raise SystemExit(f"{result.stderr[-2000:]}expected the peer to compile, got exit code {result.returncode}")
    found = json.loads(result.stdout)
    print(f"JAX int8 at {tokens:,} tokens: {found}", flush=True)
    return found


def longest_of_peer(args):
    """The longest context that fits, and its bytes."""
    fits, too_long, size = 0, args.longest // STEP, 0
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        found = compile_peer(args, middle * STEP)
        if found["fits"]:
            fits, size = middle, found["bytes"]
        else:
            too_long = middle
    return fits * STEP, size


def main():
    args = parse_flags()
    tokens, size = longest_of_peer(args)
    ours = max(row[2] for row in contexts.ROWS if row[:2] == (contexts.LLAMA_8B, TOPOLOGY))
    with tempfile.TemporaryDirectory() as scratch:
        plans = [contexts.plan(args, (contexts.LLAMA_8B, TOPOLOGY, length, contexts.LONG, contexts.NF4, ""), scratch)
                 for length in (tokens, ours)]
    print(f"| | tokens | device memory |\n|---|---|---|\n| JAX int8, its longest | {tokens:,} | {size / 1e9:.2f}e9 |")
    for plan in plans:
        print(f"| ours, NF4 | {plan['seq']:,} | {plan['peak_bytes'] / 1e9:.2f}e9 |")
    print(f"ours / JAX: {ours / tokens:.1f} times the context, at JAX's longest {plans[0]['peak_bytes'] / size:.2f} "
          "times the memory")
    args.out.write_text(json.dumps({"peer": {"seq": tokens, "bytes": size}, "ours": plans}, indent=1))


if __name__ == "__main__":
    main()
