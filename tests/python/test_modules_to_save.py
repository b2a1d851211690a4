"""Modules that are trained as a whole: their files, merging, going on, and what is refused.

Steps and logits against peft's are in tests/parity and tests/generate."""

import json
import re
import shutil

import numpy as np
import pytest
from cli_support import FIXTURES, GQA, ROWS, complaint, logits_of, output, training
from safetensors.numpy import load_file

TIED = FIXTURES / "llama" / "tied"
ADAPTERS = FIXTURES / "sft" / "adapters"
SAVED = {"lora-modules-to-save": "lm_head,embed_tokens,up_proj,input_layernorm,lm_head", "lora-r": 2}


def tensors(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_a_run_writes_them_whole_and_goes_on(tmp_path):
    schedule = {"lr-scheduler-type": "constant", "save-steps": 1, "save-strategy": "steps"}
    said = output(*training(tmp_path / "whole", **SAVED, **schedule))
    output(*training(tmp_path / "half", **SAVED, **schedule, **{
        "resume-from-checkpoint": tmp_path / "whole" / "checkpoint-1"}))
    whole, half, base = tensors(tmp_path / "whole"), tensors(tmp_path / "half"), load_file(GQA / "model.safetensors")
    assert whole.keys() == half.keys()
    saved = {name: value for name, value in whole.items() if "lora_" not in name}
    assert len(saved) == 2 + 2 * 2 and not any("up_proj.lora" in name for name in whole)
    for name, value in whole.items():
        assert np.array_equal(value, half[name]), name
        if name in saved:
            before = base[name.removeprefix("base_model.model.")]
            assert value.shape == before.shape and 0 < np.abs(value - before).max() < 0.01, name
    config = json.loads((tmp_path / "whole" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["embed_tokens", "input_layernorm", "lm_head", "up_proj"]
    assert "whole modules embed_tokens, input_layernorm, lm_head, up_proj" in re.sub(
        " +", " ", output("inspect", tmp_path / "whole"))
    frozen, trained = map(int, re.search(r"model: (\d+) frozen parameters, (\d+) trained", said).groups())
    assert trained == sum(value.size for value in whole.values())
    assert frozen == sum(value.size for value in base.values()) - sum(value.size for value in saved.values())
    again = tmp_path / "again.yaml"
    again.write_text((tmp_path / "whole" / "checkpoint-2" / "training_args.json").read_text())
    output("train", "--config", again, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "whole" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(("name", "base"), [("saved", GQA), ("saved_embedding", TIED), ("saved_head", TIED)])
def test_merged_models_give_the_same_logits(tmp_path, name, base):
    """Also where tied embeddings come apart."""
    want = logits_of(base, tmp_path / "a.safetensors", "--adapter", ADAPTERS / name)
    output("merge", "--model", base, "--adapter", ADAPTERS / name, "--out", tmp_path / "merged", "--dtype", "f32")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    got = logits_of(tmp_path / "merged", tmp_path / "b.safetensors")
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    file = tmp_path / "merged.gguf"
    output("export", "--model", base, "--adapter", ADAPTERS / name, "--quantization", "f32", "--out", file)
    got = logits_of(file, tmp_path / "c.safetensors")
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("options", [
    {"quant": "int8"}, {"kernels": "interpret"}, {"policy": "layers,offload_tables,tile=5"}, {"optim": "sophiag"},
    {"optim": "sophiah"}, {"optim": "muon"}, {"optim": "adafactor"}, {"optim": "adamw_8bit"}, {"lora-dropout": 0.1},
    {"flag": "--use-dora"}])
def test_with_other_options(tmp_path, options):
    """Every trained tensor moves; where the rest is packed too."""
    out, options = tmp_path / "out", dict(options)
    flags = [options.pop("flag")] if "flag" in options else []
    output(*training(out, **SAVED, **options), *flags)
    base = load_file(GQA / "model.safetensors")
    for name, value in tensors(out).items():
        if "lora_" not in name:
            assert np.isfinite(value).all() and not np.array_equal(value, base[name.removeprefix("base_model.model.")]), name


def test_the_rest_stays_frozen():
    """`prove` counts as base weights what is not saved."""
    saved = [text for key, value in SAVED.items() for text in (f"--{key}", value)]
    said = output("prove", "--model", GQA, "--data", ROWS, "--dtype", "f32", *saved)
    # Of twelve arrays, in which equal layers are stacked, four are trained.
    assert re.search(r"^8 base weights, 0 moved; .*: the proof holds$", said, re.M), said


def test_refusals(tmp_path):
    line = complaint(1, *training(tmp_path, **{"lora-modules-to-save": "lm_heat"}))
    assert line.startswith("[modules_to_save] expected ends of the paths of modules with parameters, which hold for all layers (")
    assert line.endswith("got 'lm_heat' (did you mean 'lm_head'?)")
    line = complaint(1, *training(tmp_path, **{"lora-target-modules": "q_proj", "lora-modules-to-save": "q_proj,lm_head"}))
    assert line == "[modules_to_save] expected a target module that is not trained as a whole, got none left of q_proj"
    line = complaint(1, *training(tmp_path, **SAVED, **{"init-lora-weights": "pissa"}))
    assert "expected PiSSA or modules_to_save, got both" in line
    line = complaint(1, *training(tmp_path, **{"lora-modules-to-save": "lm_head", "quant": "none,lm_head=int8"}))
    assert line == "[quant] expected frozen modules, got 'lm_head', which is trained"
    line = complaint(1, *training(tmp_path, **SAVED, objective="isomorphism", teacher="random"))
    assert "expected no modules_to_save for isomorphism, got embed_tokens, " in line
    line = complaint(2, *training(tmp_path, **{"init-adapter": ADAPTERS / "saved", "lora-modules-to-save": "lm_head"}))
    assert line == "expected --lora-modules-to-save or --init-adapter, got both"
    line = complaint(1, "export", "--model", GQA, "--adapter", ADAPTERS / "saved", "--adapter-only", "--out", tmp_path / "a.gguf")
    assert "expected an adapter without modules_to_save" in line
    broken = shutil.copytree(ADAPTERS / "saved", tmp_path / "broken")
    config = json.loads((broken / "adapter_config.json").read_text())
    (broken / "adapter_config.json").write_text(json.dumps({**config, "modules_to_save": None}))
    line = complaint(1, "merge", "--model", GQA, "--adapter", broken, "--out", tmp_path / "merged")
    assert "expected the tensor" in line or "expected tensors of this model" in line
