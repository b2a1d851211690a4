"""Bad input to `sophia`: one line that says what was expected, an exit code, nothing half-written."""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess

import gguf
import numpy as np
import pytest
from cli_support import (FIXTURES, GQA, PROGRAM, ROOT, ROWS, SMOLLM2, complaint, output, sophia, text_model,
                         training, write_rows)
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return text_model(tmp_path_factory.mktemp("model") / "chatty")


@pytest.fixture
def model(tmp_path):
    """A copy of the tiny model to break."""
    return shutil.copytree(GQA, tmp_path / "model")


def refused_training(tmp_path, exit_code=1, **options):
    """Why a training run fails; it must leave no file behind."""
    out = tmp_path / "out"
    line = complaint(exit_code, *training(out, **options))
    assert not out.exists() or not list(out.iterdir())
    return line


def refused_logits(tmp_path, *arguments):
    out = tmp_path / "logits.safetensors"
    line = complaint(1, "logits", *arguments, "--out", out)
    assert not list(tmp_path.glob("logits.safetensors*"))
    return line


# ---- model files

def test_missing_model(tmp_path):
    line = refused_training(tmp_path, model=tmp_path / "none.gguf")
    assert "none.gguf] expected a GGUF file or a model folder, got nothing there" in line
    (tmp_path / "empty").mkdir()
    assert "config.json] expected" in refused_training(tmp_path, model=tmp_path / "empty")


@pytest.mark.parametrize("length", [0, 3, 20, 5000, 3_000_000])
def test_truncated_gguf(tmp_path, length):
    path = tmp_path / "short.gguf"
    with SMOLLM2.open("rb") as file:
        path.write_bytes(file.read(length))
    for arguments in (["tokenize", "--model", path, "--text", "x"], ["inspect", path]):
        line = complaint(1, *arguments)
        assert "short.gguf" in line and "expected" in line


def test_wrong_magic(tmp_path):
    path = tmp_path / "picture.gguf"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "picture.gguf" in refused_training(tmp_path, model=path)
    assert "picture.gguf" in complaint(1, "inspect", path)


@pytest.mark.parametrize("key, value, reason", [
    ("llama.logit_scale", 0.5, "that are implemented, got 'llama.logit_scale'"),
    ("llama.attention.scale", 0.1, "that are implemented, got 'llama.attention.scale'"),
    ("llama.attention.value_length", 16, "to be the head's 8, got 16"),
    ("llama.rope.dimension_count", 4, "to be the head's 8, got 4"),
    ("llama.attention.sliding_window", 64, "expected no 'llama.attention.sliding_window', got 64"),
    ("llama.rope.scaling.type", "yarn", "got 'yarn'"),
])
def test_gguf_key_whose_maths_is_missing(tmp_path, key, value, reason):
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    sizes = {"embedding_length": 32, "block_count": 1, "feed_forward_length": 48,
             "attention.head_count": 4, "context_length": 64, "attention.key_length": 8}
    for name, size in sizes.items():
        writer.add_uint32(f"llama.{name}", size)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    add[type(value)](key, value)
    writer.add_tensor("token_embd.weight", np.zeros((100, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    line = refused_training(tmp_path, model=path)
    assert "tiny.gguf" in line and reason in line


@pytest.mark.parametrize("length", [0, 7, 100, 4000, 100_000])
def test_truncated_safetensors(tmp_path, model, length):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    line = refused_training(tmp_path, model=model)
    assert "model.safetensors" in line and "expected" in line


def test_corrupt_config(tmp_path, model):
    (model / "config.json").write_text('{"model_type": "llama", ')
    assert "config.json] expected valid JSON" in refused_training(tmp_path, model=model)


def set_config(model, **changes):
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_unknown_architecture_and_key(tmp_path, model):
    set_config(model, attention_window=128)
    assert "attention_window" in refused_training(tmp_path, model=model)
    set_config(model, model_type="mamba", architectures=["MambaForCausalLM"])
    line = refused_training(tmp_path, model=model)
    assert "llama" in line and "mamba" in line.lower()


def test_tensor_of_another_shape(tmp_path, model):
    set_config(model, intermediate_size=60)
    line = refused_logits(tmp_path, "--model", model, "--ids", "1")
    assert "of sizes [60, 48], got [56, 48]" in line


def test_tensor_of_another_dtype(tmp_path, model):
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] = np.ones(48, np.bool_)
    save_file(weights, model / "model.safetensors")
    line = refused_logits(tmp_path, "--model", model, "--ids", "1")
    assert "model.norm.weight" in line and "bool" in line.lower()


def test_missing_tensor(tmp_path, model):
    weights = load_file(model / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, model / "model.safetensors")
    line = refused_logits(tmp_path, "--model", model, "--ids", "1")
    assert "model.layers.1.mlp.up_proj.weight" in line


def test_corrupt_tokenizer(tmp_path, chatty):
    folder = shutil.copytree(chatty, tmp_path / "broken")
    (folder / "tokenizer.json").write_text("{}")
    assert "tokenizer.json" in complaint(1, "tokenize", "--model", folder, "--text", "x")
    assert "tokenizer.json" in refused_training(tmp_path, model=folder)


# ---- adapters

def test_adapter_of_another_model(tmp_path):
    folder = FIXTURES / "sft" / "adapters" / "qv"
    other = FIXTURES / "llama" / "head_dim_wider"
    line = refused_logits(tmp_path, "--model", other, "--adapter", folder, "--ids", "1")
    assert "for this model, got" in line
    assert "for this model, got" in refused_training(tmp_path, model=other, **{"init-adapter": folder})


def test_adapter_is_checked_before_the_work(tmp_path):
    """Before data, compiling and weights: here each of those would fail too."""
    folder = shutil.copytree(FIXTURES / "sft" / "adapters" / "qv", tmp_path / "adapter")
    late = {"data": tmp_path / "none.jsonl", "init-adapter": folder}

    def refusals():
        yield refused_training(tmp_path, **late)
        yield refused_logits(tmp_path, "--model", GQA, "--adapter", folder, "--ids", "1",
                             "--plugin", tmp_path / "none.so")

    def set_adapter(**changes):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    set_adapter(r=3)
    for line in refusals():
        assert f"expected '{name}' of sizes [3, 48] for this model, got [4, 48]" in line
    set_adapter(r=4, target_modules=["q_proj", "k_proj", "v_proj"])
    for line in refusals():
        assert "layers.0.self_attn.k_proj.lora_A.weight' for this model, got none" in line
    set_adapter(target_modules=["q_proj"])
    for line in refusals():
        assert "expected tensors of this model and its target modules, got" in line
    set_adapter(target_modules=["gate"])
    for line in refusals():
        assert "expected names among" in line


def test_broken_adapter(tmp_path):
    folder = shutil.copytree(FIXTURES / "sft" / "adapters" / "qv", tmp_path / "adapter")
    logits = ["--model", GQA, "--adapter", folder, "--ids", "1"]
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    assert "adapter_model.safetensors" in refused_logits(tmp_path, *logits)
    weights.unlink()
    assert "adapter_model.safetensors" in refused_logits(tmp_path, *logits)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "trainable_token_indices": [1]}))
    assert "expected no 'trainable_token_indices', got [1]" in refused_logits(tmp_path, *logits)
    shutil.rmtree(folder)
    assert "expected an adapter folder, got nothing there" in refused_logits(tmp_path, *logits)


@pytest.mark.skipif(any(pathlib.Path("/dev").glob("accel*")) or pathlib.Path("/dev/vfio").exists(), reason="there may be a TPU")
def test_a_tpu_that_is_not_here(tmp_path):
    """libtpu has lines of its own on stderr."""
    result = sophia(*training(tmp_path, device="tpu"))
    assert result.returncode == 1
    assert re.search(r"^sophia: error: \[device\] expected a tpu that .*libtpu.so can use, got none: ", result.stderr, re.M)


def test_target_that_names_no_layer(tmp_path):
    line = refused_training(tmp_path, **{"lora-target-modules": "q_prj"})
    assert "got 'q_prj' (did you mean 'q_proj'?)" in line
    assert "regular expression" in refused_training(tmp_path, **{"lora-target-modules": "(q"})


# ---- ids and rows

@pytest.mark.parametrize("ids", ["1,128", "-1", "1,2,2147483647"])
def test_ids_out_of_range(tmp_path, ids):
    assert "expected" in refused_logits(tmp_path, "--model", GQA, f"--ids={ids}")
    assert "expected" in complaint(1, "generate", "--model", GQA, f"--ids={ids}")


def test_ids_that_are_no_ids(tmp_path):
    for ids in ("", "1,,2", "one", "1.5", "99999999999"):
        complaint(2, "generate", "--model", GQA, f"--ids={ids}")
    path = tmp_path / "ids.safetensors"
    for ids, message in [(np.ones((1, 2), np.float32), "f32[1, 2]"), (np.ones(3, np.int64), "s64[3]"),
                         (np.full((1, 1), 128), "ids.safetensors"), (np.ones((0, 4), np.int64), "one token")]:
        save_file({"ids": ids}, path)
        assert message in refused_logits(tmp_path, "--model", GQA, "--ids-file", path)
    save_file({"tokens": np.ones((1, 1), np.int64)}, path)
    assert "ids" in refused_logits(tmp_path, "--model", GQA, "--ids-file", path)


@pytest.mark.parametrize("text, message", [
    ("", "expected at least one row, got none"),
    ("\n\n", "expected at least one row, got none"),
    ('{"input_ids": [1, 2]}\n{"input_ids": [1,', "rows.jsonl:2] expected valid JSON, got: parse error at line 1, "),
    ('{"input_ids": [1, 128]}', "rows.jsonl:1] expected token ids from 0 to 127, got 128"),
    ('{"input_ids": [1, -2]}', "got -2"),
    ('{"input_ids": [1, "x"]}', "expected 'input_ids' to be a list of integers"),
    ('{"input_ids": [1, 2], "labels": [1]}', "expected 'labels' to be as long as 'input_ids' (2)"),
    ('{"input_ids": [1, 2], "labels": [-100, -100]}', "expected a row with a trained token"),
    ('{"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, -100, -100, 5]}', "within 4 tokens"),
    ('{"question": "x"}', "expected a row with the keys"),
    ('{"text": "x"}', "expected a model with a tokenizer"),
    ("[1]", "expected a row to be an object"),
    ('{"prompt": "x", "chosen": "y", "rejected": "z"}', "an objective for preferences such as DPO's"),
    ('{"prompt": "x", "completion": "y", "label": true}', "KTO's objective"),
    ('{"input_ids": [1, 2]}\n{"messages": [{"role": "user", "content": [{"type": "image"}]}]}',
     "rows.jsonl:2] expected messages[0].content[0] to be"),
])
def test_rows(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    assert message in refused_training(tmp_path, data=path, max_length=4)


def test_missing_rows(tmp_path):
    assert "expected a file of rows" in refused_training(tmp_path, data=tmp_path / "none.jsonl")
    (tmp_path / "folder").mkdir()
    line = refused_training(tmp_path, data=tmp_path / "folder")
    assert line == f"[{tmp_path / 'folder'}] expected a folder with train.jsonl or train.parquet, got one without"


def test_long_rows_are_cut_with_a_count(tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", *({"input_ids": [1] * n} for n in (4, 5, 9)))
    text = output(*training(tmp_path / "out", data=data, max_length=4))
    assert "3 examples, 2 truncated to max_length" in text
    text = sophia("prove", "--model", GQA, "--data", data, "--dtype", "f32", "--max-length", 4).stdout
    assert "\ndata: 3 examples, 2 truncated to max_length\n" in text


def test_messages(tmp_path, chatty):
    path = tmp_path / "messages.json"
    for text, message in [("[", "expected valid JSON"), ("[]", "at least one message"), ('"hi"', "object"),
                          ('[{"content": "x"}]', "role"), ('{"text": "x"}', "messages"),
                          ('[{"role": "tool", "content": "x"}]', "no tools")]:
        path.write_text(text)
        assert message in complaint(1, "tokenize", "--model", chatty, "--messages", path)
    assert "tokenizer" in complaint(1, "generate", "--model", GQA, "--prompt", "x")


def test_prompt_beyond_the_positions(chatty):
    line = complaint(1, "generate", "--model", chatty, "--prompt", "x" * 100, "--max-new-tokens", 50)
    assert "the model's 128 positions" in line


# ---- options

@pytest.mark.parametrize("arguments, message", [
    (["trian"], "got 'trian' (did you mean 'train'?)"),
    (["train", "--learning-rte", "1"], "'--learning-rte' (did you mean '--learning-rate'?)"),
    (["train", "--lerning_rate=1"], "(did you mean '--learning-rate'?)"),
    (["train", "--learning-rate", "fast"], '--learning-rate: expected a number of at least 0, got "fast"'),
    (["train", "--max-steps", "1.5"], '--max-steps: expected an integer from 1 to 2147483647, or -1, got "1.5"'),
    (["train", "--lora-r", "0"], "--lora-r: expected an integer from 1 to 1048576, got 0"),
    (["train", "--lora-alpha", "0"], "--lora-alpha: expected a number above 0, got 0"),
    (["train", "--lora-dropout", "2"], "--lora-dropout: expected a number of at least 0 and below 1, got 2"),
    (["generate", "--top-p=0"], "--top-p: expected a number above 0 and at most 1, got 0"),
    (["train", "--learning-rate", "nan"], "--learning-rate: expected a number of at least 0, got nan"),
    (["train", "--dtype", "bf61"], "got 'bf61' (did you mean 'bf16'?)"),
    (["train", "--device", "gpu:1"], "--device: expected one of cpu, tpu, cuda, got 'gpu:1'"),
    (["train", "--device", "tqu:1"], "got 'tqu:1' (did you mean 'tpu'?)"),
    (["train", "--device", "cpu:x"], "--device: expected an index of at least 0 after 'cpu:', got 'cpu:x'"),
    (["train", "--device=cpu:-1"], "got 'cpu:-1'"),
    (["train", "--device=cpu:"], "got 'cpu:'"),
    (["train", "--device=cpu:0:1"], "got 'cpu:0:1'"),
    (["train", "--device=1"], "expected one of cpu, tpu, cuda, got '1'"),
    (["train", "--max-steps"], "--max-steps"),
    (["train", "extra"], "got 'extra'"),
    (["train"], "expected --model PATH, got nothing"),
    (["train", "--model", "x", "--data", "y"], "expected --out FOLDER, got nothing"),
    (["generate", "--model", "x"], "expected one of --prompt, --messages, --data and --ids"),
    (["logits", "--model", "x", "--out", "y"], "expected --ids or --ids-file, got neither"),
    (["tokenize", "--model", "x"], "expected one of --text, --file and --messages"),
    (["inspect"], "expected PATH, got nothing"),
])
def test_wrong_usage(arguments, message):
    assert message in complaint(2, *arguments)


@pytest.mark.parametrize("text, message", [
    ("learnin_rate: 1", "expected a known key, got 'learnin_rate' (did you mean 'learning_rate'?)"),
    ("learning_rate: fast", 'learning_rate: expected a number of at least 0, got "fast"'),
    ("max_steps: 2.5", "max_steps: expected an integer from 1 to 2147483647, or -1, got 2.5"),
    ("lora_alpha: 0", "lora_alpha: expected a number above 0, got 0"),
    ("adam_beta1: 2", "adam_beta1: expected a number of at least 0 and below 1, got 2"),
    ("learning_rate: .nan", "learning_rate: expected a number of at least 0, got nan"),
    ("shuffle: 3", "shuffle: expected true or false, got 3"),
    ("model: [a]", 'model: expected a text, got ["a"]'),
    ("target_modules: [1]", "target_modules: expected a text or a list of texts, got [1]"),
    ("lora_r: 4\nlora-r: 5", "got 'lora_r' again as 'lora-r'"),
    ("- lora_r", "expected keys and values, got array"),
])
def test_wrong_yaml(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    line = complaint(2, "train", "--config", path)
    assert line.startswith(str(path)) and message in line


def test_unreadable_yaml(tmp_path):
    path = tmp_path / "run.yaml"
    assert "run.yaml" in complaint(1, "train", "--config", path)
    path.write_text("a: [")
    assert "run.yaml] expected valid YAML" in complaint(1, "train", "--config", path)


# ---- places and plugins

def test_unwritable_output(tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    for out in (file, file / "below"):
        assert f"{out}] expected a folder" in complaint(1, *training(out))
        assert "expected a writable place" in complaint(
            1, "logits", "--model", GQA, "--ids", "1", "--out", file / "below")
    assert file.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [file]


def test_predictions_appear_complete_or_not_at_all(tmp_path, chatty):
    data = write_rows(tmp_path / "rows.jsonl", {"prompt": "a", "completion": "b"}, {"text": "c"})
    out = tmp_path / "predictions.jsonl"
    line = complaint(1, "generate", "--model", chatty, "--data", data, "--out", out)
    assert "rows.jsonl:2] expected messages, or prompt and completion" in line
    assert list(tmp_path.iterdir()) == [data]


def test_device_that_is_not_there(tmp_path):
    devices = re.findall(r"device +(cpu:\d+) ", sophia("doctor").stdout)
    absent = f"cpu:{len(devices)}"
    message = f"[device] expected a device that exists ({', '.join(devices)}), got {absent}"
    assert refused_logits(tmp_path, "--model", GQA, "--ids", "1", "--device", absent) == message
    assert refused_training(tmp_path, device=absent) == message


def test_plugin_for_another_device(tmp_path):
    plugin = ROOT / ".deps" / "plugins" / "pjrt_cpu.so"
    message = f"[device] expected a plugin for tpu, as --device says, got {plugin} for cpu"
    run = ["--model", GQA, "--ids", "1"]
    assert refused_logits(tmp_path, *run, "--device", "tpu", "--plugin", plugin) == message
    assert refused_training(tmp_path, device="tpu:0", plugin=plugin) == message
    output("logits", *run, "--plugin", plugin, "--out", tmp_path / "logits.safetensors")


def test_missing_or_bogus_plugin(tmp_path):
    run = ["logits", "--model", GQA, "--ids", "1"]
    assert "got" in refused_logits(tmp_path, *run[1:], "--plugin", tmp_path / "none.so")
    text = tmp_path / "text.so"
    text.write_text("no library")
    assert "text.so" in refused_logits(tmp_path, *run[1:], "--plugin", text)
    line = complaint(1, *run, "--out", tmp_path / "y", env={"SOPHIA_PJRT_PLUGIN": str(tmp_path / "x.so")})
    assert "SOPHIA_PJRT_PLUGIN" in line
    failed = sophia("doctor", "--plugin", text)
    assert failed.returncode == 1 and "To fix: set --plugin to" in failed.stdout


@pytest.mark.parametrize("table, message", [
    ("", "without the symbol GetPjrtApi"),
    ("return 0;", "got null"),
    ("static long api[400]; api[0] = 8; api[4] = 81LL << 32; return api;", "newer plugin"),
    ("static long api[400]; api[0] = 3200; api[4] = 7; return api;", "got 7.0"),
])
def test_plugin_of_another_kind(tmp_path, table, message):
    source = tmp_path / "plugin.cc"
    source.write_text(f'extern "C" const void* GetPjrtApi() {{ {table} }}' if table else "int x;")
    library = tmp_path / "plugin.so"
    subprocess.run(["g++", "-shared", "-fPIC", source, "-o", library], check=True)
    assert struct.calcsize("l") == 8
    line = refused_logits(tmp_path, "--model", GQA, "--ids", "1", "--plugin", library)
    assert message in line


def test_output_that_cannot_be_written_fails():
    for arguments in (["--help"], ["inspect", GQA], ["tokenize", "--help"]):
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE,
                                    text=True, check=False, timeout=300)
        assert result.returncode == 1, arguments
        assert result.stderr == "sophia: error: stdout: expected to print everything, got a failed write\n"


def test_results_replace_files_alone(tmp_path):
    arguments = ("logits", "--model", GQA, "--ids", "1,2", "--out")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert complaint(1, *arguments, pipe).endswith("expected the name of a file, got a device, pipe or socket")
    assert complaint(1, "export", "--model", GQA, "--out", tmp_path).endswith(
        "expected the name of a file, got a folder")
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    output(*arguments, link)
    assert link.is_symlink() and target.stat().st_size > 0


def test_names_that_are_too_long(tmp_path):
    assert "File name too long" in complaint(1, *training(tmp_path / ("x" * 300)))


def test_rows_longer_than_the_model_s_positions(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", {"input_ids": [5] * 200, "labels": [5] * 200})
    assert complaint(1, *training(tmp_path / "out", data=rows)) == (
        "[max_length] expected rows of at most the model's 128 positions, got 200 tokens")
