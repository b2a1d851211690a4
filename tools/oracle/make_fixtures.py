#!/usr/bin/env python3
"""Writes every folder of tests/fixtures: make_fixtures.py [PART...]

Parts: tokenizer, weights, quant, jinja, llama, sft, evaluation, bitsandbytes, generate, smollm2, chats (default: all, in this order).
A second run, also on another processor, writes the same bytes.
"""

import os
import sys

# Both torch's own kernels and MKL's otherwise differ by what the processor offers.
os.environ["ATEN_CPU_CAPABILITY"] = "default"
os.environ["MKL_CBWR"] = "COMPATIBLE"
os.environ.setdefault("TQDM_DISABLE", "1")

import bitsandbytes_folders
import chat_masks
import common
import evaluation
import generation
import jinja_fixtures
import llama_cases
import quant_fixtures
import sft
import smollm2
import tokenizer_fixtures
import weight_fixtures

PARTS = {
    "tokenizer": tokenizer_fixtures,
    "weights": weight_fixtures,
    "quant": quant_fixtures,
    "jinja": jinja_fixtures,
    "llama": llama_cases,
    "sft": sft,
    "evaluation": evaluation,
    "bitsandbytes": bitsandbytes_folders,
    "generate": generation,
    "smollm2": smollm2,
    "chats": chat_masks,
}


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
