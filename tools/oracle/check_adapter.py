#!/usr/bin/env python3
"""Says whether peft reads an adapter as its writer does: check_adapter.py ADAPTER BASE IDS LOGITS

ADAPTER is a PEFT folder, BASE a Hugging Face folder, IDS and LOGITS safetensors with `ids` [B, S] and
the writer's `logits` [B, S, V]. Exits 1 when peft's f32 logits differ by more than 1e-4 of their range,
and when the adapter hardly moves them, as then the comparison would say nothing.
"""

import argparse
import pathlib
import warnings

from peft import PeftModel
from safetensors.torch import load_file

import common

MAX_ERROR = 1e-4
MIN_EFFECT = 100 * MAX_ERROR


def peft_logits(adapter, base, ids):
    with warnings.catch_warnings():
        # peft only warns of keys that it misses, and then leaves those adapters at zero.
        warnings.filterwarnings("error", message="Found missing adapter keys")
        model = PeftModel.from_pretrained(common.load_base(base), adapter)
    return common.logits_of(model.eval(), ids)


def relative_error(logits, expected):
    return ((logits - expected).abs().max() / (expected.max() - expected.min())).item()


def check(adapter, base, ids_file, logits_file):
    """Returns the largest error as a share of the logits' range; raises SystemExit past the limit."""
    ids, logits = load_file(ids_file)["ids"], load_file(logits_file)["logits"]
    expected = peft_logits(adapter, base, ids)
    if logits.shape != expected.shape:
        raise SystemExit(f"{logits_file}: expected {tuple(expected.shape)}, got {tuple(logits.shape)}")
    effect = relative_error(common.logits_of(common.load_base(base), ids), expected)
    if not effect >= MIN_EFFECT:
        raise SystemExit(f"{adapter}: expected it to move logits by {MIN_EFFECT}, got {effect:.3g}")
    error = relative_error(logits, expected)
    if not error <= MAX_ERROR:
        raise SystemExit(f"{adapter}: expected peft's logits within {MAX_ERROR}, got {error:.3g}")
    return error


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("adapter", "base", "ids", "logits"):
        parser.add_argument(name, type=pathlib.Path)
    args = parser.parse_args()
    common.set_up()
    error = check(args.adapter, args.base, args.ids, args.logits)
    print(f"{args.adapter}: peft gives the same logits (largest error {error:.1e} of their range)")


if __name__ == "__main__":
    main()
