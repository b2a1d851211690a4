"""What the peers share: flags, the timing of steps and the one line of JSON they print."""

import argparse
import json
import resource
import statistics
import time

import numpy as np

# SmolLM2-135M.
VOCAB, D_MODEL, D_FF, LAYERS, HEADS, KV_HEADS = 49152, 576, 1536, 30, 9, 3
ROPE_THETA, NORM_EPS = 100000.0, 1e-5
RANK, ALPHA, LEARNING_RATE = 16, 32, 2e-4


def parse_flags(description, **extra):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--steps", type=int, default=8, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the timed ones")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    for name, options in extra.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


def random_ids(args):
    return np.random.default_rng(0).integers(0, VOCAB, (args.batch, args.seq))


def measure(peer, args, step):
    """Runs `step()` (one optimiser step, returns the loss when it is done) and prints the result.

    tokens_per_second is the median of the timed steps; compile_seconds is what the first step took
    beyond that median.
    """
    losses, seconds = [], []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        losses.append(float(step()))
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[args.warmup :])
    print(json.dumps({
        "peer": peer,
        "dtype": args.dtype,
        "batch": args.batch,
        "seq": args.seq,
        "tokens_per_second": args.batch * args.seq / median,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "compile_seconds": max(0.0, seconds[0] - median),
    }))
