"""How a training run ends, and what it compiles and leaves behind."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from cli_support import GQA, complaint, output, training, write_rows
from resume_support import checkpoints
from safetensors.numpy import load_file, save_file


def strict_rows(path):
    """Lines of JSON without NaN and Infinity, which are no JSON."""
    def refuse(text):
        raise AssertionError(f"{path}: {text} is no JSON")
    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, optim):
    out = tmp_path / "out"
    line = complaint(1, *training(out, learning_rate=1e30, max_steps=9, optim=optim, max_grad_norm=0,
                                  lr_scheduler_type="constant"))
    found = re.match(r"\[train\] expected a finite (loss|gradient) at step (\d), got ", line)
    assert found, line
    rows = strict_rows(out / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, int(found[2]) + 1))
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows[:-1])
    assert None in (rows[-1]["loss"], rows[-1]["grad_norm"])
    assert {path.name for path in out.iterdir()} == {"metrics.jsonl", "plan.json", "run.json", "training_args.json"}


def model_with_a_steep_token(folder, head):
    """The tiny model with a hidden dimension that only token 127 has and that the head multiplies by `head`.
    Weak layers keep the hidden state small, so that normalising it makes the gradient steeper than the loss."""
    shutil.copytree(GQA, folder)
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    embedding[:, 0] = 0
    embedding[127] = 0
    embedding[127, 0] = 0.01
    for name, weight in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight *= 1e-3
            weight[0] = 0
    weights["lm_head.weight"][5, 0] = head
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("head, value", [(1e30, "inf"), (1e38, "nan")])
def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path, head, value):
    """The third row has token 127: a finite loss, and a gradient whose sums overflow."""
    model = model_with_a_steep_token(tmp_path / "model", head)
    data = write_rows(tmp_path / "rows.jsonl", *({"input_ids": [10 + i, last, 12, 13]} for i, last in
                                                 enumerate([11, 11, 127, 11])))
    out = tmp_path / "out"
    options = {"model": model, "data": data, "max-steps": 4, "batch-size": 1, "save-strategy": "steps",
               "save-steps": 1, "lora-target-modules": "q_proj,v_proj"}
    line = complaint(1, *training(out, **options), "--no-shuffle")
    assert line == (f"[train] expected a finite gradient at step 3, got {value}; "
                    f"the last good state is {out / 'checkpoint-1'}")
    assert checkpoints(out) == ["checkpoint-1"]
    saved = load_file(out / "checkpoint-1" / "adapter_model.safetensors")
    assert all(np.all(np.isfinite(tensor)) for tensor in saved.values())
    assert not (out / "adapter_model.safetensors").exists()
    rows = strict_rows(out / "metrics.jsonl")
    assert [row["grad_norm"] is None for row in rows] == [False, False, True]
    assert all(math.isfinite(row["loss"]) for row in rows)


@pytest.mark.parametrize("flag, steps", [("--no-packing", 4), ("--packing", 2)])
def test_a_run_compiles_one_program(tmp_path, flag, steps):
    """Rows of several lengths, short last batches and two epochs."""
    lengths = [5, 9, 14, 20, 27]
    data = write_rows(tmp_path / "rows.jsonl", *({"input_ids": list(range(3, 3 + n))} for n in lengths))
    cache = tmp_path / "cache"
    output(*training(tmp_path / "out", data=data, max_steps=-1, num_train_epochs=2,
                     per_device_train_batch_size=2, gradient_accumulation_steps=2), flag,
           env={"SOPHIA_CACHE_DIR": str(cache)})
    assert len(strict_rows(tmp_path / "out" / "metrics.jsonl")) == steps
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


def test_every_line_of_metrics_has_the_same_keys(tmp_path):
    output(*training(tmp_path / "out", max_steps=3))
    for row in strict_rows(tmp_path / "out" / "metrics.jsonl"):
        assert list(row) == ["step", "epoch", "loss", "grad_norm", "learning_rate",
                             "tokens_per_second", "data_wait_seconds", "step_seconds",
                             "flops_per_second", "device_memory_bytes", "host_memory_bytes",
                             "eta_seconds"]


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_8bit"])
def test_interpreted_kernels_train_the_same_adapter(tmp_path, optim):
    adapters = []
    for kernels in ("reference", "interpret"):
        output(*training(tmp_path / kernels, kernels=kernels, optim=optim, max_steps=3, lora_r=64,
                         lora_target_modules="q_proj,v_proj"))
        adapters.append(load_file(tmp_path / kernels / "adapter_model.safetensors"))
    reference, interpreted = adapters
    assert reference.keys() == interpreted.keys()
    for name, want in reference.items():
        assert np.max(np.abs(interpreted[name] - want)) < 1e-4 * np.max(np.abs(want)) + 1e-5, name
