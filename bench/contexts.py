#!/usr/bin/env python3
"""How long a context fits: `sophia plan` for each row of a table, by whole compilations of libtpu.

Beside each row stands the longest context of peers on the same chip as far as it is known: MaxText and hand-written JAX
by the same compiler, Unsloth's published figure for CUDA. Writes build/bench_contexts.json, and fails where a row does
not fit. With --peers the JAX peer's contexts and memory are measured as well, beside ours, and build/bench_peers.json is
written.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import tempfile

from run import PEERS, ROOT, write_report

LLAMA_8B, LLAMA_1B = "llama-3.1-8b", "llama-3.2-1b"
LONG = "layers,offload,tile=2048"
SHORT = "layers,offload,tile=512"
NF4 = ("--quant", "nf4")
INT8_TABLES = "embed_tokens=int8,lm_head=int8"
LESS_STATE = (*NF4, "--optim", "adamw_8bit")

# model, topology, tokens, policy, more options, contexts of peers
ROWS = [
    (LLAMA_8B, "v5e:1x1", 131072, LONG, NF4,
     "MaxText NF4 19,456, int8 12,288; JAX int8 13,312, NF4 19,456, NF4 with offload 107,520; "
     "on CUDA Unsloth 39,543, HF with FlashAttention-2 about 2,500"),
    (LLAMA_8B, "v5e:1x1", 163840, LONG, NF4, ""),
    (LLAMA_8B, "v6e:1x1", 262144, LONG, NF4, ""),
    (LLAMA_8B, "v6e:1x1", 393216, LONG, NF4, ""),
    (LLAMA_8B, "v3:1x1", 32768, LONG, NF4, ""),
    (LLAMA_8B, "v3:1x1", 65536, LONG, NF4, ""),
    (LLAMA_8B, "v2:1x1", 2048, SHORT, LESS_STATE, ""),
    (LLAMA_8B, "v2:1x1", 8192, SHORT, LESS_STATE, ""),
    (LLAMA_1B, "v5e:1x1", 196608, LONG, ("--quant", "none"), "MaxText bf16 43,008"),
    (LLAMA_1B, "v5e:1x1", 262144, LONG, ("--quant", "none"), ""),
    (LLAMA_8B, "v5e:1x1", 2048, SHORT, LESS_STATE, ""),
    (LLAMA_8B, "v5e:1x1", 2048, SHORT, (*LESS_STATE[2:], "--quant", f"nf4,{INT8_TABLES}"), ""),
]

HOST_GB = {"v5e:1x1": 47}  # a Colab host

PEER_CHIP = "v5e:1x1"
PEER_VARIANTS = {
    "int8": "JAX int8",
    "nf4": "JAX NF4",
    "nf4-offload": "JAX NF4, inputs offloaded, MLP in tiles",
}


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sophia", type=pathlib.Path, default=ROOT / "build" / "sophia")
    parser.add_argument("--rows", type=int, nargs="*", default=range(len(ROWS)),
                        help="which rows, from 0; none where none is named")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "bench_contexts.json")
    parser.add_argument("--peers", nargs="*", choices=PEER_VARIANTS, metavar="VARIANT",
                        help=f"measure the JAX peer too: {', '.join(PEER_VARIANTS)} (all of them)")
    parser.add_argument("--peer-python", type=pathlib.Path,
                        default=ROOT / ".deps" / "venv-oracle" / "bin" / "python")
    parser.add_argument("--peers-out", type=pathlib.Path, default=ROOT / "build" / "bench_peers.json")
    return parser.parse_args()


def model_for(name, tokens, scratch):
    """The example's configuration, whose positions are raised where the context is longer than they are."""
    folder = ROOT / "examples" / "plan" / name
    config = json.loads((folder / "config.json").read_text())
    if tokens <= config["max_position_embeddings"]:
        return folder
    longer = pathlib.Path(scratch, f"{name}-{tokens}")
    longer.mkdir()
    (longer / "config.json").write_text(json.dumps(config | {"max_position_embeddings": tokens}))
    return longer


def plan(args, row, scratch):
    name, topology, tokens, policy, more, _ = row
    command = [
        str(args.sophia), "plan", "--model", str(model_for(name, tokens, scratch)), "--topology", topology,
        *more, "--lora-r", "32", "--batch-size", "1", "--max-length", str(tokens), "--policy", policy, "--json",
        *(("--host-memory", str(HOST_GB[topology])) if topology in HOST_GB else ()),
    ]
    print(f"$ {shlex.join(command)}", flush=True)
    result = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if not result.stdout:
        raise SystemExit(f"expected a plan, got exit code {result.returncode}")
    planned = json.loads(result.stdout)
    print(line(row, planned), flush=True)
    return planned


def confirmed(planned):
    return planned["fits"] and planned["confirmed"]


def line(row, planned):
    name, topology, tokens, _, _, peers = row
    verdict = "fits" if confirmed(planned) else "does not fit"
    compiled = f"{planned['compile_seconds']:.0f} s" if planned["confirmed"] else "-"
    return (f"| {name} | {topology} | {tokens:,} | {planned['peak_bytes'] / 1e9:.2f}e9 of "
            f"{planned['limit_bytes'] / 1e9:.2f}e9 | {verdict} | {planned['host_bytes'] / 1e9:.1f}e9 | {compiled} | "
            f"{planned['step_seconds_estimate']:.3g} s | {peers} |")


def measure_peer(args, variant):
    """The peer at its shortest context and at its longest, by whole compilations."""
    command = [str(args.peer_python), str(PEERS / "jax_qlora.py"), "--topology", PEER_CHIP, "--variant", variant,
               "--model-config", str(ROOT / "examples" / "plan" / LLAMA_8B / "config.json")]
    print(f"$ {shlex.join(command)}", flush=True)
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"expected the peer's contexts, got exit code {result.returncode}")
    return [json.loads(one) for one in result.stdout.splitlines()]


def compare_peers(args, variants, plans, scratch):
    """Prints each peer beside ours at the same tokens, and the longest contexts; `plans`: (row, plan) of this run."""
    measured = [one for variant in variants for one in measure_peer(args, variant)]
    longest = max((row for row in ROWS if row[:2] == (LLAMA_8B, PEER_CHIP)), key=lambda row: row[2])
    plans = dict(plans)
    for row in [longest, *(our_row(one["tokens"]) for one in measured)]:
        plans[row] = plans.get(row) or plan(args, row, scratch)
    print(f"\n{LLAMA_8B}, {PEER_CHIP}\n| peer | tokens | its device memory | ours, {LONG} | ratio | "
          "our longest context | to the peer's |\n|---|---|---|---|---|---|---|")
    for one in measured:
        print(peer_line(one, plans[our_row(one["tokens"])], longest[2] if confirmed(plans[longest]) else None,
                        max(other["tokens"] for other in measured if other["variant"] == one["variant"])))
    ours = [{"row": row, "plan": planned} for row, planned in plans.items()]
    write_report(args.peers_out, {"peers": measured, "ours": ours})


def our_row(tokens):
    return (LLAMA_8B, PEER_CHIP, tokens, LONG, NF4, "")


def peer_line(one, ours, our_longest, longest):
    name, peak = PEER_VARIANTS[one["variant"]], ours["peak_bytes"]
    if not one["fits"]:
        return f"| {name} | {one['tokens']:,} | does not fit | {peak / 1e9:.2f}e9 | | | |"
    contexts = f"{our_longest:,} | {our_longest / longest:.1f}" if our_longest and one["tokens"] == longest else " | "
    return (f"| {name} | {one['tokens']:,} | {one['bytes'] / 1e9:.2f}e9 | {peak / 1e9:.2f}e9 | "
            f"{peak / one['bytes']:.2f} | {contexts} |")


def print_rows(rows, plans):
    print("| model | chip | tokens | device memory | whole compilation | host memory | compiled in | step, estimated | "
          "peers |\n|---|---|---|---|---|---|---|---|---|")
    for row, planned in zip(rows, plans, strict=True):
        print(line(row, planned))


def main():
    args = parse_flags()
    rows = [ROWS[i] for i in args.rows]
    with tempfile.TemporaryDirectory() as scratch:
        plans = []
        for row in rows:
            plans.append(plan(args, row, scratch))
            write_report(args.out, [{"row": row, "plan": one} for row, one in zip(rows, plans, strict=False)])
        if rows:
            print_rows(rows, plans)
        if args.peers is not None:
            variants = args.peers or list(PEER_VARIANTS)
            compare_peers(args, variants, list(zip(rows, plans, strict=True)), scratch)
    missed = [f"{name}, {topology}, {tokens:,} tokens"
              for (name, topology, tokens, *_), one in zip(rows, plans, strict=True) if not confirmed(one)]
    if missed:
        raise SystemExit(f"expected every row to fit, got {len(missed)} that do not: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
