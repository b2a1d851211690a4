#!/usr/bin/env python3
"""Writes tests/fixtures from torch, transformers and peft: make_fixtures.py [PART...]

Parts: llama, sft, generate, smollm2 (default: all, in this order). Seeds are fixed and nothing
carries a time, so that on one machine a second run writes the same bytes.
"""

import os
import sys

os.environ.setdefault("TQDM_DISABLE", "1")

import common
import generation
import llama_cases
import sft
import smollm2

PARTS = {"llama": llama_cases, "sft": sft, "generate": generation, "smollm2": smollm2}


def main(names):
    for name in names:
        if name not in PARTS:
            raise SystemExit(f"expected one of {', '.join(PARTS)}, got '{name}'")
    common.set_up()
    for name in names or PARTS:
        PARTS[name].write()
        print(f"{name}: written", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
