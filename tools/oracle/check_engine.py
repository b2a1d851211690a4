#!/usr/bin/env python3
"""Lets the engine and peft read each other's adapters: check_engine.py [SOPHIA]

    continued   `sophia train` goes on from each adapter of tests/fixtures/sft as runs.json says
    new         `sophia train` starts an adapter, on other bases and with other options; transformers
                reads the trainer_state.json of its checkpoint
    saved       peft saves an adapter, file for file as users find it
    refused     peft saves an adapter whose maths the engine lacks: it must say so
    merged      transformers reads what `sophia merge` writes, and its GGUF file

But for the last two, `sophia logits` and peft must then agree as check_adapter demands. SOPHIA defaults to
build/sophia.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerState

import check_adapter
import common
import sft

# The base and the options of `sophia train`.
NEW = {
    "all_linear": ("llama/gqa", ["--lora-r", 8, "--lora-alpha", 16]),
    "rslora": ("llama/llama32", ["--lora-r", 4, "--use-rslora", "--target-modules", "q_proj,o_proj",
                                 "--dtype", "bf16"]),
    "dora": ("llama/attention_bias", ["--lora-r", 4, "--use-dora"]),
    "dora_dropout": ("llama/attention_bias", ["--lora-r", 4, "--use-dora", "--lora-dropout", 0.2,
                                              "--target-modules", r".*\.1\..*_proj"]),
    "pissa": ("llama/gqa", ["--lora-r", 4, "--init-lora-weights", "pissa"]),
    "patterns": ("llama/gqa", ["--lora-rank-pattern", r"[kv]_proj=3,layers\.(0|[2-9])\.mlp\..*=9",
                               "--lora-alpha-pattern", "1.self_attn.k_proj=7", "--loraplus-lr-ratio", 4]),
    "modules_to_save": ("llama/tied", ["--lora-r", 2, "--lora-modules-to-save", "embed_tokens,norm"]),
    "regex": ("llama/attention_bias", ["--lora-r", 3, "--lora-dropout", 0.1,
                                       "--target-modules", r".*\.1\..*_proj"]),
}

QV = {"target_modules": ["q_proj", "v_proj"], "r": 4, "lora_alpha": 8}
SAVED = {
    **sft.ADAPTERS,
    "gaussian": {**QV, "init_lora_weights": "gaussian", "lora_dropout": 0.1, "lora_alpha": 2.5},
    "orthogonal": {**QV, "init_lora_weights": "orthogonal"},
    "full_names": {**QV, "target_modules": ["layers.0.self_attn.q_proj", "layers.1.mlp.up_proj"]},
}
# The key that the engine must name.
REFUSED = {
    "init_lora_weights": {**QV, "init_lora_weights": "pissa"},
    "layers_to_transform": {**QV, "layers_to_transform": [1]},
    "exclude_modules": {**QV, "exclude_modules": ["v_proj"]},
    "trainable_token_indices": {**QV, "trainable_token_indices": [1]},
    "bias": {**QV, "bias": "all"},
    "lora_bias": {**QV, "lora_bias": True},
    "target_modules": {**QV, "target_modules": ["q_proj", "lm_head"]},
}


class Engine:
    def __init__(self, sophia, scratch):
        self.sophia = sophia
        self.adapter = scratch / "adapter"
        self.logits = scratch / "logits.safetensors"

    def run(self, *arguments):
        command = [str(self.sophia), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def succeed(self, *arguments):
        result = self.run(*arguments)
        if result.returncode != 0:
            raise SystemExit(f"sophia {arguments[0]}: expected success, got {result}")

    def train(self, base, data, *options):
        self.succeed("train", "--model", common.FIXTURES / base, "--data", common.FIXTURES / data,
                     "--out", self.adapter, "--overwrite-output-dir", *options)

    def logits_command(self, base):
        ids = common.FIXTURES / base / "ids.safetensors"
        return ("logits", "--model", common.FIXTURES / base, "--adapter", self.adapter,
                "--ids-file", ids, "--out", self.logits, "--dtype", "f32")

    def compare(self, base):
        self.succeed(*self.logits_command(base))
        folder = common.FIXTURES / base
        error = check_adapter.check(self.adapter, folder, folder / "ids.safetensors", self.logits)
        return f"largest error {error:.1e} of the logits' range"


def option_flags(options):
    """TRL's names as flags; a max_steps below 1 means that the epochs count."""
    options = dict(options)
    options.pop("num_train_epochs" if options["max_steps"] > 0 else "max_steps")
    for key, value in options.items():
        yield f"--{key.replace('_', '-')}"
        yield str(value)


def check_continued(engine, run):
    engine.train(run["base"], run["data"], "--init-adapter", common.FIXTURES / run["init_adapter"],
                 "--no-shuffle", "--dtype", "f32", *option_flags(run["options"]))
    return engine.compare(run["base"])


def check_new(engine, case):
    base, options = case
    engine.train(base, "sft/rows.jsonl", "--max-steps", 10, "--learning-rate", 0.02, "--eval-split", 0.2,
                 "--eval-steps", 5, *options)
    state = TrainerState.load_from_json(engine.adapter / "checkpoint-10" / "trainer_state.json")
    evaluations = [row["eval_loss"] for row in state.log_history if "eval_loss" in row]
    if (state.global_step, len(state.log_history), len(evaluations)) != (10, 12, 2):
        raise SystemExit(f"trainer_state.json: expected 10 steps and 2 evaluations, got {state}")
    if state.best_metric != min(evaluations):
        raise SystemExit(f"trainer_state.json: expected the best of {evaluations}, got {state.best_metric}")
    return engine.compare(base)


def check_saved(engine, case):
    name, options = case
    sft.make_adapter(name, options).save_pretrained(engine.adapter)
    return engine.compare(sft.BASES.get(name, sft.BASE))


def check_refused(engine, case):
    key, options = case
    sft.make_adapter(key, options).save_pretrained(engine.adapter)
    result = engine.run(*engine.logits_command(sft.BASE))
    if result.returncode != 1 or key not in result.stderr:
        raise SystemExit(f"{key}: expected exit code 1 and the key's name, got {result}")
    return "refused"


def check_merged(engine, case):
    name, options = case
    model = sft.make_adapter(name, options)
    model.save_pretrained(engine.adapter)
    base = common.FIXTURES / sft.BASES.get(name, sft.BASE)
    ids = load_file(base / "ids.safetensors")["ids"]
    expected = common.logits_of(model, ids)
    merged, gguf = engine.adapter.parent / "merged", engine.adapter.parent / "merged.gguf"
    given = ["--model", base, "--adapter", engine.adapter]
    engine.succeed("merge", *given, "--out", merged, "--dtype", "f32")
    engine.succeed("export", *given, "--out", gguf, "--quantization", "f32")
    errors = []
    for loaded in (common.load_base(merged),
                   AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)):
        errors.append(check_adapter.relative_error(common.logits_of(loaded.eval(), ids), expected))
        if not errors[-1] <= check_adapter.MAX_ERROR:
            raise SystemExit(f"merged {name}: expected peft's logits, got an error of {errors[-1]}")
    return f"largest errors {max(errors):.1e} of the logits' range"


def cases():
    runs = json.loads((common.FIXTURES / "sft" / "runs.json").read_text())
    one_per_adapter = {run["init_adapter"]: run for run in reversed(runs)}
    for run in one_per_adapter.values():
        yield check_continued, run["name"], run
    for name, case in NEW.items():
        yield check_new, name, case
    for name, options in SAVED.items():
        yield check_saved, name, (name, options)
    for key, options in REFUSED.items():
        yield check_refused, key, (key, options)
    for name in ("all_linear", "rslora", "patterns", "dora", "saved", "saved_embedding", "saved_head"):
        yield check_merged, name, (name, SAVED[name])


def main(sophia):
    common.set_up()
    warnings.simplefilter("ignore")  # of peft, about adapters made to be refused
    for check, name, case in cases():
        with tempfile.TemporaryDirectory() as scratch:
            said = check(Engine(sophia, pathlib.Path(scratch)), case)
        print(f"{check.__name__.removeprefix('check_')} {name}: {said}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        raise SystemExit(__doc__)
    main(sys.argv[1] if len(sys.argv) == 2 else common.ROOT / "build" / "sophia")
