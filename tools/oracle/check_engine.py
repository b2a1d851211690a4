#!/usr/bin/env python3
"""Trains with the engine and asks peft to read the result: check_engine.py [SOPHIA]

For one run of tests/fixtures/sft/runs.json per adapter: `sophia train` writes an adapter, `sophia logits`
computes with it, and check_adapter compares with peft's logits. SOPHIA defaults to build/sophia.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import check_adapter
import common


def one_run_per_adapter():
    runs = json.loads((common.FIXTURES / "sft" / "runs.json").read_text())
    return {run["init_adapter"]: run for run in reversed(runs)}.values()


def option_flags(options):
    """TRL's names as flags; a max_steps below 1 means that the epochs count."""
    options = dict(options)
    options.pop("num_train_epochs" if options["max_steps"] > 0 else "max_steps")
    for key, value in options.items():
        yield f"--{key.replace('_', '-')}"
        yield str(value)


def check(sophia, run, scratch):
    base = common.FIXTURES / run["base"]
    adapter, logits = scratch / "adapter", scratch / "logits.safetensors"
    ids = base / "ids.safetensors"
    subprocess.run(
        [sophia, "train", "--model", base, "--data", common.FIXTURES / run["data"], "--out", adapter,
         "--init-adapter", common.FIXTURES / run["init_adapter"], "--no-shuffle", "--dtype", "f32",
         *option_flags(run["options"])],
        check=True,
    )
    subprocess.run(
        [sophia, "logits", "--model", base, "--adapter", adapter, "--ids-file", ids, "--out", logits,
         "--dtype", "f32"],
        check=True,
    )
    return check_adapter.check(adapter, base, ids, logits)


def main(sophia):
    common.set_up()
    for run in one_run_per_adapter():
        with tempfile.TemporaryDirectory() as scratch:
            error = check(sophia, run, pathlib.Path(scratch))
        print(f"{run['name']}: peft gives the same logits (largest error {error:.1e} of their range)")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        raise SystemExit(__doc__)
    main(sys.argv[1] if len(sys.argv) == 2 else common.ROOT / "build" / "sophia")
