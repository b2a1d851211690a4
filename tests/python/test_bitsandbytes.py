"""Folders that bitsandbytes has quantised (tests/fixtures/bitsandbytes): every command takes them, and damaged
or other ones are errors that name what was expected."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from cli_support import FIXTURES, complaint, logits_of, output, sophia, text_model, training
from safetensors.numpy import load_file, save_file
from safetensors_reader import read_safetensors

FOLDERS = FIXTURES / "bitsandbytes"
KEY = "model.layers.1.self_attn.k_proj.weight"
STATE = f"{KEY}.quant_state.bitsandbytes__nf4"
IDS = ("--ids-file", FOLDERS / "nested" / "ids.safetensors")


@pytest.fixture
def copy(tmp_path):
    """Of nested/, to change: its path, and a function that rewrites its tensors."""
    folder = tmp_path / "model"
    shutil.copytree(FOLDERS / "nested", folder)

    def rewrite(change):
        tensors = {name: values.astype(np.float32) if values.dtype == ml_dtypes.bfloat16 else values
                   for name, values in read_safetensors(folder / "model.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return folder, rewrite


def as_bytes(state):
    return np.frombuffer(json.dumps(state).encode(), np.uint8)


@pytest.mark.parametrize("kernels", ["reference", "interpret"])
def test_logits_of_weights_that_stay_packed(tmp_path, kernels):
    want = load_file(FOLDERS / "nested" / "logits.safetensors")["logits"]
    got = logits_of(FOLDERS / "nested", tmp_path / "x.safetensors", "--quant", "auto", "--kernels", kernels, ids=IDS)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.ptp(want))


def test_inspect_counts_whole_weights():
    said = output("inspect", FOLDERS / "nested")
    linear = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 64)
    assert f"  NF4         {linear} in 14 tensors, " in said
    assert f"parameters    {linear + 128 * 64 + 5 * 64} in 20 tensors, " in said
    assert f"  {KEY} NF4 [32, 64]\n" in output("inspect", FOLDERS / "nested", "--tensors")


def test_plan_needs_no_weights(tmp_path):
    shutil.copy(FOLDERS / "nested" / "config.json", tmp_path)
    result = sophia("plan", "--model", tmp_path, "--topology", "cpu", "--max-length", 32, "--batch-size", 1,
                    "--no-confirm", "--json")
    shapes = [(64, 64)] * 5 + [(32, 64)] * 2
    packed = sum(rows * columns // 2 + 256 + 4 + 4 for rows, columns in shapes)  # at most 256 scales each
    assert json.loads(result.stdout)["bytes"]["weights"] == 2 * packed + 2 * (128 * 64 + 5 * 64)


def test_training_merging_and_answers(tmp_path):
    """The merged model gives the logits of base and adapter, and is not quantised."""
    base, out, merged = text_model(tmp_path / "base", FOLDERS / "nested"), tmp_path / "out", tmp_path / "merged"
    said = output(*training(out, model=base, **{"lora-r": 4, "learning-rate": 0.05, "max-steps": 4}))
    assert "plan: " in said
    output("merge", "--model", base, "--adapter", out, "--out", merged, "--dtype", "f32")
    config = json.loads((merged / "config.json").read_text())
    assert "quantization_config" not in config and config["dtype"] == "float32"
    assert {str(value.dtype) for value in load_file(merged / "model.safetensors").values()} == {"float32"}
    want = logits_of(base, tmp_path / "a.safetensors", "--quant", "auto", "--adapter", out, ids=IDS)
    got = logits_of(merged, tmp_path / "b.safetensors", ids=IDS)
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * scale)
    assert np.abs(want - logits_of(base, tmp_path / "c.safetensors", ids=IDS)).max() > 1e-3 * scale
    answers = [output("generate", "--model", model, *more, "--prompt", "abc", "--max-new-tokens", 8, "--dtype",
                      "f32") for model, more in ((base, ("--adapter", out)), (merged, ()))]
    assert answers[0] == answers[1]


def other_type(tensors):
    tensors[STATE.replace("nf4", "fp4")] = tensors.pop(STATE)


def changed(**members):
    def change(tensors):
        tensors[STATE] = as_bytes(json.loads(tensors[STATE].tobytes()) | members)

    return change


def other_table(tensors):
    tensors[f"{KEY}.quant_map"] = tensors[f"{KEY}.quant_map"] + np.float32(0.1)


def short_scales(tensors):
    tensors[f"{KEY}.absmax"] = tensors[f"{KEY}.absmax"][:-1]


DAMAGE = [
    (other_type, f"{KEY}] expected '{STATE}' beside it, got fp4's"),
    (lambda tensors: tensors.pop(STATE), f"{KEY}] expected '{STATE}' beside it, got none"),
    (changed(quant_type="fp4"), f"{STATE}] expected quant_type nf4, got 'fp4'"),
    (changed(blocksize=128), f"{STATE}] expected a blocksize of 64, got 128"),
    (changed(nested_blocksize=512), f"{STATE}] expected a nested_blocksize of 256, got 512"),
    (changed(shape=[64, 32]), f"expected '{KEY}' of sizes [32, 64], got [64, 32]"),
    (changed(shape=[64, 64]), f"{KEY}] expected 2048 elements of u8 in '{KEY}', got 1024 of u8"),
    (other_table, f"{KEY}] expected the table of NF4 in '{KEY}.quant_map', got others"),
    (short_scales, f"{KEY}] expected 32 elements of u8 in '{KEY}.absmax', got 31 of u8"),
    (lambda tensors: tensors.pop(f"{KEY}.nested_absmax"), f"expected '{KEY}.nested_absmax' beside it, got none"),
    (changed(shape=[-32, 64]), f"{STATE}] expected sizes [rows, in], got [-32, 64]"),
    (changed(shape=[2**62, 64]), f"{STATE}] expected sizes [rows, in], got [{2**62}, 64]"),
    (changed(shape=[2048]), f"{STATE}] expected sizes [rows, in], got [2048]"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
@pytest.mark.parametrize("quant", ["auto", "none"])
def test_damaged_weights_are_errors(copy, tmp_path, damage, message, quant):
    folder, rewrite = copy
    rewrite(damage)
    line = complaint(1, "logits", "--model", folder, "--ids", "1,2", "--out", tmp_path / "x.safetensors", "--quant",
                     quant)
    assert message in line


def test_other_methods_are_errors(copy):
    folder, _ = copy
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    line = complaint(1, "inspect", folder)
    assert "config.json: quantization_config] expected quant_method bitsandbytes, got 'awq'" in line
