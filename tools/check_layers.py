#!/usr/bin/env python3
"""Checks that every file of sophia/ includes its own folder and lower layers only.

Prints a line for each violation and fails if there is one.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANKS = {
    "base": 0,
    "graph": 1, "pjrt": 1, "io": 1, "report": 1,
    "autodiff": 2, "parquet": 2, "runtime": 2, "quant": 2,
    "pallas": 3,
    "kernels": 4,
    "nn": 5,
    "models": 6, "lora": 6, "optim": 6,
    "train": 7, "generate": 7, "merge": 7,
    "plan": 8, "eval": 8,
    "cli": 9,
}
# Layers that make program text and never see pjrt or XLA's headers, whatever their rank.
TEXT_ONLY = {"graph", "autodiff", "pallas"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def violation(layer, target):
    """Says what is wrong with a file of `layer` including `target`, or returns None."""
    if target.startswith("xla/"):
        return f"{layer} makes text only and never sees XLA" if layer in TEXT_ONLY else None
    parts = target.split("/")
    if parts[0] != "sophia" or len(parts) < 3:
        return 'expected a path from the root, "sophia/<layer>/..."'
    other = parts[1]
    if other not in RANKS:
        return f"unknown layer {other}"
    if other == "pjrt" and layer in TEXT_ONLY:
        return f"{layer} makes text only and never sees pjrt"
    if other != layer and RANKS[other] >= RANKS[layer]:
        return f"{layer} (rank {RANKS[layer]}) may not include {other} (rank {RANKS[other]})"
    return None


def main():
    files = sorted(p for p in (ROOT / "sophia").rglob("*") if p.suffix in (".h", ".cc"))
    if not files:
        raise SystemExit("expected C++ files under sophia/, got none")
    failures = 0
    for path in files:
        name = path.relative_to(ROOT)
        layer = name.parts[1]
        if layer not in RANKS:
            print(f"{name}: unknown layer {layer}")
            failures += 1
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            problem = violation(layer, match[1]) if match else None
            if problem:
                print(f"{name}:{number}: {problem}")
                failures += 1
    print(f"{len(files)} files, {failures} violations")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
