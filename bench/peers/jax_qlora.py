#!/usr/bin/env python3
"""The longest context at which libtpu compiles the JAX QLoRA step of `qlora_llama.py` for one chip, without the chip.

Rank 32 on all linear layers, batch 1. With --tokens it compiles that context alone. Each line of output is one JSON
object; `bytes` are argument + temporary + output - aliased + code of a whole compilation, or what libtpu's early
check wants where memory ran out.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEP = 1024  # tokens; a multiple of the blocks that the step computes in
SHORT = 2048
PATIENCE = 3  # contexts in a row that do not fit end the search
VARIANTS = ("int8", "nf4", "nf4-offload")
UNITS = {unit: 1024**power for power, unit in enumerate("BKMGT")}
KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "rms_norm_eps", "rope_theta", "tie_word_embeddings", "max_position_embeddings")


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-config", type=pathlib.Path,
                        default=ROOT / "examples" / "plan" / "llama-3.1-8b" / "config.json")
    parser.add_argument("--topology", default="v5e:1x1")
    parser.add_argument("--libtpu", type=pathlib.Path, default=ROOT / ".deps" / "plugins" / "libtpu.so")
    parser.add_argument("--variant", choices=VARIANTS, default=VARIANTS[0],
                        help="packing of the frozen weights; offload: layer inputs in host memory, MLP in tiles")
    parser.add_argument("--tokens", type=int, help="compile this context alone")
    parser.add_argument("--hbm-mib", type=int, help="with --tokens: let libtpu believe that the chip has so much")
    args = parser.parse_args()
    if args.hbm_mib is not None and (args.tokens is None or args.hbm_mib < 1):
        parser.error(f"--hbm-mib: expected at least 1, and --tokens beside it, got {args.hbm_mib}")
    if args.tokens is not None and (args.tokens < STEP or args.tokens % STEP):
        parser.error(f"--tokens: expected a multiple of {STEP}, got {args.tokens}")
    if not args.libtpu.is_file():
        parser.error(f"--libtpu: expected libtpu.so (tools/setup.sh build fetches it), got {args.libtpu}")
    args.config = read_config(parser, args.model_config)
    return args


def read_config(parser, path):
    if path.is_dir():
        path = path / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        parser.error(f"--model-config: expected a config.json, got {path} ({error})")
    missing = [key for key in KEYS if key not in config]
    if config.get("model_type") != "llama" or missing:
        parser.error(f"--model-config: expected a llama with {', '.join(KEYS)}, got model_type "
                     f"{config.get('model_type')!r} without {', '.join(missing) or 'any missing'}")
    scaling = config.get("rope_scaling")
    if scaling and scaling.get("rope_type") != "llama3":
        parser.error(f"--model-config: expected rope_scaling of rope_type 'llama3' or none, got {scaling}")
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    if head_dim % 128:
        parser.error(f"--model-config: expected heads of a multiple of 128, as splash attention does, got {head_dim}")
    return config


def prepare_libtpu(path):
    """The environment in which libtpu compiles on a machine without a TPU, set before JAX is imported."""
    os.environ.update(TPU_LIBRARY_PATH=str(path.resolve()), JAX_PLATFORMS="cpu")
    for name, value in (("TPU_SKIP_MDS_QUERY", "1"), ("TPU_ACCELERATOR_TYPE", "v5litepod-4"),
                        ("TPU_WORKER_HOSTNAMES", "localhost"), ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")):
        os.environ.setdefault(name, value)


def lower(args):
    """The training step for one device of the topology, before compilation."""
    import jax
    import qlora_llama
    from jax.experimental import topologies

    try:
        topology = topologies.get_topology_desc(args.topology, "tpu")
    except jax.errors.JaxRuntimeError as error:
        raise SystemExit(f"--topology: expected one that libtpu knows, such as v5e:1x1, got {args.topology!r}: "
                         f"{str(error).splitlines()[0]}") from error
    sharding = jax.sharding.SingleDeviceSharding(topology.devices[0])
    variant = qlora_llama.VARIANTS[args.variant]
    optimizer, update = qlora_llama.make_step(args.config, variant, args.tokens)
    base, adapters = qlora_llama.parameter_shapes(args.config, variant)
    ids = jax.ShapeDtypeStruct((args.tokens,), jax.numpy.int32)
    arguments = ((adapters, jax.eval_shape(optimizer.init, adapters)), base, ids, ids)
    return update.lower(*jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding), arguments))


def compile_one(args):
    prepare_libtpu(args.libtpu)
    lowered = lower(args)
    import jax

    result = {"variant": args.variant, "tokens": args.tokens}
    options = {"xla_tpu_max_hbm_size_mib": str(args.hbm_mib)} if args.hbm_mib else None
    start = time.perf_counter()
    try:
        memory = lowered.compile(compiler_options=options).memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        return result | {"fits": False, **wanted(error)}
    need = (memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
            - memory.alias_size_in_bytes + memory.generated_code_size_in_bytes)
    return result | {"fits": True, "bytes": need, "host_bytes": memory.host_temp_size_in_bytes,
                     "seconds": time.perf_counter() - start}


def wanted(error):
    """What a compiler that found too little memory wanted, and the chip's memory."""
    for pattern in (r"temporaries \(([\d.]+)([BKMGT])\) exceeds available HBM \(([\d.]+)([BKMGT])\)",
                    r"Used ([\d.]+)([BKMGT]) of ([\d.]+)([BKMGT])"):
        found = re.search(pattern, str(error))
        if found and "RESOURCE_EXHAUSTED" in str(error):
            need, need_unit, limit, limit_unit = found.groups()
            return {"bytes": round(float(need) * UNITS[need_unit]),
                    "limit_bytes": round(float(limit) * UNITS[limit_unit])}
    raise error


def in_child(args, tokens, hbm_mib=None):
    """compile_one() in a process of its own, for libtpu may die; a death counts as a context that does not fit."""
    command = [sys.executable, __file__, "--model-config", str(args.model_config), "--topology", args.topology,
               "--libtpu", str(args.libtpu), "--variant", args.variant, "--tokens", str(tokens),
               *(["--hbm-mib", str(hbm_mib)] if hbm_mib else [])]
    print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode < 0:
        result = {"variant": args.variant, "tokens": tokens, "fits": False, "signal": -process.returncode}
    elif process.returncode:
        raise SystemExit("\n".join(process.stderr.splitlines()[-5:]))
    else:
        result = json.loads(process.stdout.splitlines()[-1])
    print(f"  {result}", file=sys.stderr, flush=True)
    return result


def wanted_bytes(result):
    if "bytes" not in result:
        raise SystemExit(f"expected libtpu to say what {result['tokens']} tokens need, got signal {result['signal']}")
    return result["bytes"]


def guess(args, whole):
    """The longest context tried whose early check finds it to fit; secants through the closest contexts choose them."""
    limit = whole["limit_bytes"]
    needs = {whole["tokens"]: whole["bytes"], SHORT: wanted_bytes(in_child(args, SHORT, hbm_mib=1))}
    for _ in range(2):
        a, b = sorted(needs, key=lambda tokens: abs(needs[tokens] - limit))[:2]
        tokens = a + (limit - needs[a]) * (b - a) / (needs[b] - needs[a])
        tokens = int(min(max(tokens, STEP), whole["tokens"] - STEP)) // STEP * STEP
        if tokens in needs:
            break
        needs[tokens] = wanted_bytes(in_child(args, tokens, hbm_mib=1))
    return max((tokens for tokens, need in needs.items() if need <= limit), default=STEP)


def largest(args):
    """The longest context found, at most the model's, that a whole compilation finds to fit; None where none does.

    What a step needs does not grow evenly: a context may fit where one a little shorter does not.
    """
    whole = in_child(args, args.config["max_position_embeddings"] // STEP * STEP)
    if whole["fits"]:
        return whole
    wanted_bytes(whole)
    start, best, failures = guess(args, whole), None, 0
    for tokens in range(start, whole["tokens"], STEP):
        result = in_child(args, tokens)
        best, failures = (result, 0) if result["fits"] else (best, failures + 1)
        if failures == PATIENCE:
            break
    for tokens in range(start - STEP, 0, -STEP):
        if best:
            break
        result = in_child(args, tokens)
        best = result if result["fits"] else None
    return best


def main():
    args = parse_flags()
    if args.tokens:
        print(json.dumps(compile_one(args)))
        return
    print(json.dumps(in_child(args, SHORT)), flush=True)
    longest = largest(args)
    if longest is None:
        raise SystemExit(f"expected some context of {args.variant} to fit {args.topology}, got none")
    print(json.dumps(longest))


if __name__ == "__main__":
    main()
