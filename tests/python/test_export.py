"""`sophia merge` and `sophia export` against NumPy, gguf, safetensors and tokenizers."""

import json
import re
import shutil
import signal
import subprocess
import time

import gguf
import ml_dtypes
import numpy as np
import pytest
from cli_support import FIXTURES, GQA, PROGRAM, SMOLLM2, complaint, logits_of, output, peak_of, training
from gguf.quants import dequantize, quantize
from safetensors.numpy import load_file, save_file
from safetensors_reader import read_safetensors
from tokenizers import Tokenizer

CORPUS = [json.loads(line)["text"] for line in
          (FIXTURES / "tokenizer" / "corpus.jsonl").read_text().rstrip("\n").split("\n")]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """Trained far enough to move logits."""
    out = tmp_path_factory.mktemp("train") / "adapter"
    output(*training(out, **{"lora-r": 4, "lora-alpha": 16, "learning-rate": 0.2, "max-steps": 6}))
    return out


@pytest.fixture(scope="module")
def merged(tmp_path_factory, adapter):
    out = tmp_path_factory.mktemp("merge") / "merged"
    output("merge", "--model", GQA, "--adapter", adapter, "--out", out, "--dtype", "f32")
    return out


def expected_weights(base, adapter):
    """W + alpha/r · B·A of every tensor, in f64."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    factors = load_file(adapter / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    for name, weight in load_file(base / "model.safetensors").items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        delta = 0
        if f"{module}.lora_A.weight" in factors:
            delta = scale * (factors[f"{module}.lora_B.weight"].astype(np.float64)
                             @ factors[f"{module}.lora_A.weight"])
        yield name, weight + delta


def test_merged_weights_are_base_plus_product(merged, adapter):
    got = load_file(merged / "model.safetensors")
    expected = dict(expected_weights(GQA, adapter))
    assert got.keys() == expected.keys()
    for name, weight in expected.items():
        np.testing.assert_allclose(got[name], weight, rtol=0, atol=1e-6 * np.abs(weight).max())


def test_merged_model_gives_the_adapter_s_logits(merged, adapter, tmp_path):
    want = logits_of(GQA, tmp_path / "a.safetensors", "--adapter", adapter)
    base = logits_of(GQA, tmp_path / "b.safetensors")
    got = logits_of(merged, tmp_path / "c.safetensors")
    scale = np.abs(want).max()
    assert np.abs(base - want).max() > 1e-2 * scale
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(("name", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_halves_are_the_nearest(adapter, merged, tmp_path, name, dtype):
    def rounded(weight):
        return weight.astype(dtype).astype(np.float32)

    given = ("--model", GQA, "--adapter", adapter)
    output("merge", *given, "--dtype", name, "--out", tmp_path / "half")
    got, whole = read_safetensors(tmp_path / "half" / "model.safetensors"), load_file(merged / "model.safetensors")
    assert got.keys() == whole.keys()
    for key, weight in whole.items():
        assert got[key].dtype == dtype, key
        np.testing.assert_array_equal(got[key].astype(np.float32), rounded(weight), key)
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    assert config["torch_dtype"] == {"f16": "float16", "bf16": "bfloat16"}[name]
    files = [tmp_path / f"{one}.gguf" for one in (name, "f32")]
    for file in files:
        output("export", *given, "--quantization", file.stem, "--out", file)
    half, whole = map(tensors_of, files)
    for key, tensor in half.items():
        weight = values_of(whole[key])
        assert tensor.tensor_type.name == (name.upper() if weight.ndim > 1 else "F32")
        np.testing.assert_array_equal(values_of(tensor), rounded(weight) if weight.ndim > 1 else weight, key)


def test_merging_again_replaces_every_weight(adapter, tmp_path):
    out = tmp_path / "merged"
    arguments = ("merge", "--model", GQA, "--adapter", adapter, "--out", out, "--dtype", "f32")
    output(*arguments)
    output(*arguments, "--max-shard-size", "0.00005")
    assert not (out / "model.safetensors").exists() and len(list(out.glob("model-*.safetensors"))) > 1
    output(*arguments)
    assert [path.name for path in out.glob("model*")] == ["model.safetensors"]


def test_an_interrupted_export_leaves_no_temporary_file(tmp_path):
    command = [PROGRAM, "export", "--model", SMOLLM2, "--quantization", "f32", "--out", tmp_path / "out.gguf"]
    with subprocess.Popen(command) as run:
        while not list(tmp_path.glob("*.tmp")):
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
    assert run.returncode == -signal.SIGINT
    assert not list(tmp_path.iterdir())


def test_an_adapter_that_is_not_finite_is_refused(adapter, tmp_path):
    broken = tmp_path / "adapter"
    shutil.copytree(adapter, broken)
    factors = load_file(broken / "adapter_model.safetensors")
    name = sorted(factors)[0]
    factors[name][0, 0] = np.nan
    save_file(factors, broken / "adapter_model.safetensors")
    assert complaint(1, "merge", "--model", GQA, "--adapter", broken, "--out", tmp_path / "out").endswith(
        f"expected finite numbers in '{name}', got NaN or infinity")


def test_what_f16_does_not_hold_is_refused(tmp_path):
    base = tmp_path / "base"
    shutil.copytree(GQA, base)
    weights = load_file(base / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(weights, base / "model.safetensors")
    expected = "[model.layers.0.mlp.up_proj.weight] expected values of at most 65504, which f16 holds, got 1e+06; bf16 holds it"
    file = tmp_path / "x.gguf"
    assert complaint(1, "export", "--model", base, "--quantization", "f16", "--out", file) == expected
    assert not file.exists()
    output("export", "--model", base, "--quantization", "bf16", "--out", file)
    adapter = FIXTURES / "sft" / "adapters" / "qv"
    merge = ("merge", "--model", base, "--adapter", adapter, "--out", tmp_path / "merged", "--dtype")
    assert complaint(1, *merge, "f16") == expected
    output(*merge, "bf16")


def test_merged_folder_keeps_the_configuration(merged):
    config = json.loads((merged / "config.json").read_text())
    base = json.loads((GQA / "config.json").read_text())
    assert config == base | {"torch_dtype": "float32"}
    assert "alpha | 16 (scale 4)" in (merged / "README.md").read_text()


def test_shards_have_an_index(adapter, merged, tmp_path):
    output("merge", "--model", GQA, "--adapter", adapter, "--out", tmp_path, "--dtype", "f32",
           "--max-shard-size", 0.00005)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 2
    assert {path.name for path in tmp_path.glob("*.safetensors")} == files
    whole = load_file(merged / "model.safetensors")
    for name, file in index["weight_map"].items():
        np.testing.assert_array_equal(load_file(tmp_path / file)[name], whole[name])
    assert index["metadata"]["total_size"] == sum(weight.nbytes for weight in whole.values())


def test_gguf_gives_the_same_logits(adapter, merged, tmp_path):
    file = tmp_path / "model.gguf"
    output("export", "--model", GQA, "--adapter", adapter, "--quantization", "f32", "--out", file)
    want = logits_of(merged, tmp_path / "a.safetensors")
    got = logits_of(file, tmp_path / "b.safetensors")
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("name", ["rope_llama3_long", "rope_linear", "llama32", "head_dim_wider",
                                  "attention_bias", "mlp_bias", "tied"])
def test_gguf_of_other_configurations(name, tmp_path):
    base = FIXTURES / "llama" / name
    file = tmp_path / "model.gguf"
    output("export", "--model", base, "--quantization", "f32", "--out", file)
    output("logits", "--model", file, "--ids-file", base / "ids.safetensors", "--out",
           tmp_path / "logits.safetensors")
    want = load_file(base / "logits.safetensors")["logits"]
    got = load_file(tmp_path / "logits.safetensors")["logits"]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.ptp(want))


def tensors_of(path):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def values_of(tensor):
    return dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])


def test_adapter_gguf_adds_up_to_the_merged_file(adapter, tmp_path):
    files = {name: tmp_path / f"{name}.gguf" for name in ("base", "merged", "adapter")}
    common = ["--model", GQA, "--quantization", "f32"]
    output("export", *common, "--out", files["base"])
    output("export", *common, "--adapter", adapter, "--out", files["merged"])
    output("export", *common, "--adapter", adapter, "--adapter-only", "--out", files["adapter"])
    reader = gguf.GGUFReader(files["adapter"])
    fields = {key: field.contents() for key, field in reader.fields.items()}
    assert (fields["general.type"], fields["adapter.type"]) == ("adapter", "lora")
    said = output("inspect", files["adapter"])
    assert re.search(r"^kind +GGUF adapter \(lora\)$", said, re.M)
    assert re.search(rf"^alpha +{fields['adapter.lora.alpha']:g}$", said, re.M)
    assert f"in {len(reader.tensors)} tensors" in said
    factors = tensors_of(files["adapter"])
    base, merged = tensors_of(files["base"]), tensors_of(files["merged"])
    changed = {name for name in base if not np.array_equal(base[name].data, merged[name].data)}
    assert {name.rsplit(".", 1)[0] for name in factors} == changed != set()
    for name in changed:
        a, b = (values_of(factors[f"{name}.lora_{x}"]) for x in "ab")
        got = values_of(base[name]) + fields["adapter.lora.alpha"] / len(a) * (b @ a)
        np.testing.assert_allclose(got, values_of(merged[name]), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """SmolLM2 in f32 and in each quantisation, read by gguf."""
    folder = tmp_path_factory.mktemp("smollm2")
    files = {}
    for name in ["f32", "q8_0", "q4_0", "q4_k_m"]:
        files[name] = folder / f"{name}.gguf"
        output("export", "--model", SMOLLM2, "--quantization", name, "--out", files[name])
    return files


def relative_error(got, want):
    return np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2))


# The largest error of each type, relative to the weights' root mean square.
LIMITS = {"Q8_0": 0.01, "Q4_0": 0.11, "Q5_0": 0.06, "Q4_K": 0.08, "Q6_K": 0.03}


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q4_k_m"])
def test_quantised_bytes_are_gguf_s(smollm2, name):
    whole = tensors_of(smollm2["f32"])
    seen = set()
    for tensor in tensors_of(smollm2[name]).values():
        kind = tensor.tensor_type
        want = values_of(whole[tensor.name])
        if want.ndim == 1:
            np.testing.assert_array_equal(values_of(tensor), want)
            continue
        seen.add(kind.name)
        assert relative_error(values_of(tensor), want) < LIMITS[kind.name], tensor.name
        if kind.name in ("Q8_0", "Q4_0", "Q5_0"):
            np.testing.assert_array_equal(tensor.data, quantize(want, kind), tensor.name)
    assert seen == {"q8_0": {"Q8_0"}, "q4_0": {"Q4_0", "Q8_0"},
                    "q4_k_m": {"Q4_K", "Q5_0", "Q6_K", "Q8_0"}}[name]


def test_exported_gguf_keeps_tokenizer_and_answers(smollm2):
    fields = [{key: field.contents() for key, field in gguf.GGUFReader(file).fields.items()}
              for file in (SMOLLM2, smollm2["q8_0"])]
    for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.chat_template",
                "llama.rope.freq_base", "general.name"]:
        assert fields[0][key] == fields[1][key]
    assert fields[1]["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    answer = output("generate", "--model", smollm2["q8_0"], "--prompt",
                    "What is the capital of France?", "--max-new-tokens", 12)
    assert "Paris" in answer


def test_merge_from_gguf_writes_a_tokenizer(tmp_path):
    adapter = tmp_path / "adapter"
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "Water boils at a hundred degrees."}\n' * 2)
    output(*training(adapter, model=SMOLLM2, data=rows, **{"lora-r": 1, "max-steps": 1,
                                                          "max-length": 16}))
    folder = tmp_path / "merged"
    peak, _ = peak_of("merge", "--model", SMOLLM2, "--adapter", adapter, "--out", folder, "--dtype", "f32")
    # The base file, mapped, and the widest tensor as it is read and written: not all 538 MB that are written.
    largest = max(weight.nbytes for weight in load_file(folder / "model.safetensors").values())
    assert peak < SMOLLM2.stat().st_size + 2 * largest
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in [text for text in CORPUS if "\0" not in text][:8]:
        ids = json.loads(output("tokenize", "--model", SMOLLM2, f"--text={text}"))
        assert tokenizer.encode(text).ids == ids, text
    config = json.loads((folder / "config.json").read_text())
    assert config["torch_dtype"] == "float32"
    found = []
    for more in (["--model", folder], ["--model", SMOLLM2, "--adapter", adapter]):
        file = tmp_path / "logits.safetensors"
        output("logits", *more, "--ids", "504,3575,282", "--out", file)
        found.append(load_file(file)["logits"])
    np.testing.assert_allclose(*found, rtol=0, atol=1e-4 * np.ptp(found[1]))


def test_bad_input(adapter, tmp_path):
    out = tmp_path / "out"
    merge = ["merge", "--model", GQA, "--out", out]
    assert "--adapter" in complaint(2, *merge)
    assert "got nothing there" in complaint(1, *merge, "--adapter", tmp_path / "none")
    other = FIXTURES / "llama" / "mha"
    assert "for this model" in complaint(1, "merge", "--model", other, "--adapter", adapter, "--out", out)
    assert "a folder of its own" in complaint(1, "merge", "--model", GQA, "--adapter", adapter,
                                              "--out", GQA)
    assert not out.exists()
    file = tmp_path / "x.gguf"
    export = ["export", "--model", GQA, "--out", file]
    assert "q4_k_m" in complaint(2, *export, "--quantization", "q4_k")
    assert "--adapter beside --adapter-only" in complaint(2, *export, "--adapter-only")
    assert "the same" in complaint(1, "export", "--model", SMOLLM2, "--out", SMOLLM2)
    assert not file.exists()
