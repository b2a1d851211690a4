"""Optimisers and kinds of adapters from the command line."""

import json

import gguf
import numpy as np
import pytest
from cli_support import FIXTURES, GQA, ROWS, complaint, output, training
from safetensors.numpy import load_file


@pytest.mark.parametrize(("options", "message"), [
    ({"optim": "muom"}, "--optim: expected one of adamw_torch, adamw_8bit, adamw_bnb_8bit, adamw_bf16, sgd, adafactor, lion, "
                        "muon, sophia, sophiag, sophiah, got 'muom' (did you mean 'muon'?)"),
    ({"optim": "sophiag", "optim-args": "gama=1"},
     "--optim-args: expected arguments of sophiag (gamma, update_interval), got 'gama' "
     "(did you mean 'gamma'?)"),
    ({"optim-args": "gamma=1"}, "--optim-args: expected arguments of adamw_torch (it has none), got 'gamma'"),
    ({"optim": "muon", "optim-args": "momentum=big"},
     "--optim-args: expected momentum=NUMBER, got 'momentum=big'"),
])
def test_wrong_use_of_optimisers(tmp_path, options, message):
    assert complaint(2, *training(tmp_path, **options)) == message


PATTERNS = {"lora-r": 2, "lora-rank-pattern": "layers.0.self_attn.q_proj=5,[kv]_proj=3",
            "lora-alpha-pattern": "down_proj=3"}


def test_patterns_are_saved_and_go_on(tmp_path):
    """Steps after a checkpoint equal those of a run left alone, and files have each module's rank."""
    schedule = {"lr-scheduler-type": "constant", "save-steps": 1, "save-strategy": "steps"}
    output(*training(tmp_path / "whole", **PATTERNS, **schedule))
    output(*training(tmp_path / "half", **PATTERNS, **schedule, **{
        "resume-from-checkpoint": tmp_path / "whole" / "checkpoint-1"}))
    whole, half = (load_file(tmp_path / one / "adapter_model.safetensors") for one in ("whole", "half"))
    assert whole.keys() == half.keys()
    for name, value in whole.items():
        assert np.array_equal(value, half[name]), name
        rank = 5 if "0.self_attn.q_proj" in name else 3 if "k_proj" in name or "v_proj" in name else 2
        assert rank == value.shape[0 if "lora_A" in name else 1], name
    config = json.loads((tmp_path / "whole" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == {"layers.0.self_attn.q_proj": 5, "[kv]_proj": 3}
    assert config["alpha_pattern"] == {"down_proj": 3.0}
    text = output("inspect", tmp_path / "whole")
    assert "layers.0.self_attn.q_proj=5, [kv]_proj=3" in text
    # The checkpoint's own options are a configuration file.
    again = tmp_path / "again.yaml"
    again.write_text((tmp_path / "whole" / "checkpoint-2" / "training_args.json").read_text())
    output("train", "--config", again, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "whole" / "adapter_model.safetensors").read_bytes()


def test_patterns_may_be_a_mapping_in_a_file(tmp_path):
    """As PEFT's own keys; a name may have a comma, which separates patterns in a text."""
    config = tmp_path / "run.yaml"
    config.write_text("rank_pattern: {layers.0.self_attn.q_proj: 5, '[kv]_proj|x,y': 3}\nalpha_pattern:\n  down_proj: 3\n")
    for name, flags in (("text", PATTERNS), ("mapping", {"lora-r": 2, "config": config})):
        output(*training(tmp_path / name, **flags))
    tensors = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("text", "mapping")]
    assert tensors[0] == tensors[1]
    again = tmp_path / "mapping" / "training_args.json"
    assert json.loads(again.read_text())["lora_rank_pattern"] == {"layers.0.self_attn.q_proj": 5, "[kv]_proj|x,y": 3}
    output("train", "--config", again, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "adapter_model.safetensors").read_bytes() == tensors[0]
    for value, reason in [("{q_proj: x}", "expected a text, a list of texts or a mapping of names to numbers"),
                          ("{q_proj: 1.5}", "expected NAME=an integer of at least 1, got 'q_proj=1.5'"),
                          ("{q_proj: 0}", "got 'q_proj=0'"), ("4", "a mapping of names to numbers, got 4")]:
        config.write_text(f"rank_pattern: {value}\n")
        assert reason in complaint(2, *training(tmp_path / "out", config=config))


def test_dora_begins_as_the_base_model(tmp_path):
    """The first magnitudes are the norms of the rows; packed weights count as they are read."""
    for quant in ("none", "int8"):
        out = tmp_path / quant
        losses = []
        for dora in ("--use-dora", "--no-use-dora"):
            output(*training(out, quant=quant, optim="sgd", **{"learning-rate": 0, "lora-r": 2}), dora,
                   "--overwrite-output-dir")
            losses.append([json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()])
            if dora == "--use-dora":
                adapter = load_file(out / "adapter_model.safetensors")
        assert np.allclose(*losses, rtol=1e-6)
        weights = load_file(GQA / "model.safetensors")
        magnitudes = {name: value for name, value in adapter.items() if "magnitude" in name}
        assert len(magnitudes) == 14
        for name, value in magnitudes.items():
            module = name.removeprefix("base_model.model.").removesuffix(".lora_magnitude_vector")
            norms = np.linalg.norm(weights[f"{module}.weight"].astype(np.float64), axis=1)
            np.testing.assert_allclose(value, norms, rtol=1e-6 if quant == "none" else 1e-2)


def test_dora_is_merged_and_resumed(tmp_path):
    options = {"lora-r": 2, "learning-rate": 0.05, "lr-scheduler-type": "constant", "save-steps": 1,
               "save-strategy": "steps", "lora-target-modules": r".*\.1\.self_attn\.[qk]_proj"}
    output(*training(tmp_path / "whole", **options), "--use-dora")
    output(*training(tmp_path / "half", **options, **{
        "resume-from-checkpoint": tmp_path / "whole" / "checkpoint-1"}), "--use-dora")
    assert (tmp_path / "whole" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "half" / "adapter_model.safetensors").read_bytes()
    adapter = load_file(tmp_path / "whole" / "adapter_model.safetensors")
    output("merge", "--model", GQA, "--adapter", tmp_path / "whole", "--out", tmp_path / "merged", "--dtype", "f32")
    base, merged = (load_file(folder / "model.safetensors") for folder in (GQA, tmp_path / "merged"))
    module = "model.layers.1.self_attn.q_proj"
    a, b, m = (adapter[f"base_model.model.{module}.{x}"]
               for x in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"))
    directions = base[f"{module}.weight"] + 32 / 2 * (b @ a)
    expected = m[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(merged[f"{module}.weight"], expected, atol=1e-6)
    assert np.abs(expected - base[f"{module}.weight"]).max() > 1e-3
    assert "DoRA adapter" in output("inspect", tmp_path / "whole")
    line = complaint(1, "export", "--adapter-only", "--model", GQA, "--adapter", tmp_path / "whole",
                     "--out", tmp_path / "a.gguf")
    assert "expected an adapter without magnitudes (DoRA)" in line


def halves(adapter, module):
    """Trained and first factors of a converted PiSSA adapter, each (A, B)."""
    a, b = (adapter[f"base_model.model.{module}.lora_{x}.weight"].astype(np.float64) for x in "AB")
    rank = len(a) // 2
    return (a[:rank], b[:, :rank]), (a[rank:], -b[:, rank:])


@pytest.mark.parametrize(("init", "bound"), [("pissa", 1e-3), ("pissa_niter_8", 1e-2)])
def test_pissa_begins_with_the_principal_part(tmp_path, init, bound):
    """Against NumPy's SVD; 12 and 10 more values of 48 leave the iteration something to do."""
    out = tmp_path / "out"
    output(*training(out, optim="sgd", **{"learning-rate": 0, "lora-r": 12, "lora-alpha": 6, "init-lora-weights": init,
                                          "lora-rank-pattern": "0.mlp.down_proj=5"}))
    adapter, weights = load_file(out / "adapter_model.safetensors"), load_file(GQA / "model.safetensors")
    for layer, name in ((0, "mlp.down_proj"), (1, "mlp.down_proj"), (1, "self_attn.q_proj"), (0, "self_attn.k_proj")):
        module = f"model.layers.{layer}.{name}"
        trained, first = halves(adapter, module)
        for one, other in zip(trained, first, strict=True):
            np.testing.assert_array_equal(one, other)
        a, b = first
        rank = 5 if (layer, name) == (0, "mlp.down_proj") else 12
        assert a.shape[0] == b.shape[1] == rank
        u, s, vh = np.linalg.svd(weights[f"{module}.weight"].astype(np.float64))
        principal = (u[:, :rank] * s[:rank]) @ vh[:rank]
        error = np.linalg.norm(6 / rank * b @ a - principal) / np.linalg.norm(principal)
        assert error < bound, module
        # Both factors have the roots of the singular values.
        np.testing.assert_allclose(np.linalg.norm(a, axis=1) ** 2 * 6 / rank, s[:rank], rtol=max(bound, 1e-4))
        np.testing.assert_allclose(np.linalg.norm(b, axis=0) ** 2 * 6 / rank, s[:rank], rtol=max(bound, 1e-4))
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (24, 12.0, True)
    assert config["rank_pattern"] == {"0.mlp.down_proj": 10}
    # The residual and the factors are the base model.
    plain = tmp_path / "plain"
    output(*training(plain, optim="sgd", **{"learning-rate": 0}))
    losses = [[json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
              for folder in (out, plain)]
    assert np.allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("rslora", ["--use-rslora", "--no-use-rslora"])
def test_pissa_is_resumed_and_becomes_an_adapter_of_the_base(tmp_path, rslora):
    """What the run says of its last state, the saved adapter gives on the base itself."""
    options = {"lora-r": 4, "learning-rate": 0.01, "lr-scheduler-type": "constant", "save-steps": 2,
               "save-strategy": "steps", "max-steps": 4, "init-lora-weights": "pissa", "eval-data": ROWS}
    text = output(*training(tmp_path / "whole", **options), rslora)
    assert "4 steps" in text
    output(*training(tmp_path / "half", **options, **{
        "resume-from-checkpoint": tmp_path / "whole" / "checkpoint-2"}), rslora)
    assert (tmp_path / "whole" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "half" / "adapter_model.safetensors").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    loss = [row["eval_loss"] for row in rows if "eval_loss" in row][-1]
    assert loss < rows[0]["loss"] - 0.05
    result = json.loads(output("eval", "--model", GQA, "--adapter", tmp_path / "whole", "--data", ROWS,
                               "--dtype", "f32", "--json"))
    assert find(result, "loss") == pytest.approx(loss, rel=1e-5)
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert "moved" not in json.dumps(record) or not find(record, "moved")


def find(value, key):
    """The first member of that name, at any depth."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    for one in value if isinstance(value, list) else []:
        if (found := find(one, key)) is not None:
            return found
    return None


@pytest.mark.parametrize("storage", ["hf", "gguf"])
def test_patterns_are_merged_and_exported(tmp_path, storage):
    output(*training(tmp_path / "adapter", **PATTERNS, **{"learning-rate": 0.1}))
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")

    def delta(module):
        a, b = (adapter[f"base_model.model.{module}.lora_{x}.weight"] for x in "AB")
        alpha = 3 if "down_proj" in module else 32
        return alpha / len(a) * (b @ a)

    if storage == "hf":
        output("merge", "--model", GQA, "--adapter", tmp_path / "adapter", "--out", tmp_path / "merged",
               "--dtype", "f32")
        base, merged = (load_file(folder / "model.safetensors") for folder in (GQA, tmp_path / "merged"))
        for module in ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
                       "model.layers.1.mlp.down_proj"):
            moved = merged[f"{module}.weight"] - base[f"{module}.weight"]
            assert np.abs(moved).max() > 1e-3
            np.testing.assert_allclose(moved, delta(module), atol=1e-6)
        return
    output("export", "--adapter-only", "--model", GQA, "--adapter", tmp_path / "adapter", "--out", tmp_path / "a.gguf")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    alpha = float(reader.fields["adapter.lora.alpha"].contents())
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    for module, name in (("mlp.down_proj", "ffn_down"), ("self_attn.v_proj", "attn_v")):
        a, b = (tensors[f"blk.1.{name}.weight.lora_{x}"] for x in "ab")
        np.testing.assert_allclose(alpha / len(a) * (b @ a), delta(f"model.layers.1.{module}"), atol=1e-6)


@pytest.mark.parametrize(("options", "code", "message"), [
    ({"lora-rank-pattern": "q_proj"}, 2, "--lora-rank-pattern: expected NAME=an integer of at least 1, got 'q_proj'"),
    ({"lora-rank-pattern": "q_proj=0"}, 2, "expected NAME=an integer of at least 1, got 'q_proj=0'"),
    ({"lora-alpha-pattern": "q_proj=-1"}, 2, "expected NAME=a number above 0, got 'q_proj=-1'"),
    ({"lora-rank-pattern": "q_prj=4"}, 1, "[lora] expected 'q_prj' to match the end of a target module's path"),
    ({"lora-rank-pattern": "(q_proj=4"}, 1, "[rank_pattern] "),
    ({"loraplus-lr-ratio": 0}, 2, "--loraplus-lr-ratio: expected a number above 0, got 0"),
    ({"init-lora-weights": "pisa"}, 2, "expected true, pissa or pissa_niter_N with N from 1 to 1000, got 'pisa' (did "
                                       "you mean 'pissa'?)"),
    ({"init-lora-weights": "pissa_niter_0"}, 2, "got 'pissa_niter_0'"),
    ({"init-lora-weights": "pissa", "quant": "int8"}, 1, "expected weights that are not packed (--quant none)"),
    ({"init-lora-weights": "pissa", "lora-r": 49}, 1, "[lora_r] expected a rank of at most"),
    ({"optim": "muon", "lora-rank-pattern": "0.self_attn.q_proj=4"}, 1,
     "[optim] expected one rank in all layers for muon"),
    ({"init-adapter": FIXTURES / "sft" / "adapters" / "qv", "lora-rank-pattern": "q_proj=4"}, 2,
     "expected --lora-rank-pattern or --init-adapter, got both"),
])
def test_wrong_patterns(tmp_path, options, code, message):
    assert message in complaint(code, *training(tmp_path / "out", **options))


@pytest.mark.parametrize(("optim", "arguments", "message"), [
    ("muon", "momentum=1", "[Muon] expected momentum of at least 0 and below 1, got 1"),
    ("muon", "ns_steps=2.5", "[optim_args] expected ns_steps as an integer of at least 1, got 2.5"),
    ("sophiah", "update_interval=0", "[optim_args] expected update_interval as an integer of at least 1, got 0"),
    ("sophiag", "gamma=0", "[Sophia] expected gamma above 0, got 0"),
    ("adafactor", "decay_rate=0.8", "[Adafactor] expected decay_rate below 0, got 0.8"),
])
def test_arguments_out_of_range(tmp_path, optim, arguments, message):
    assert complaint(1, *training(tmp_path, **{"optim": optim, "optim-args": arguments})) == message
