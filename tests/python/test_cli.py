"""What `sophia` does on the tiny fixtures: help, options and every subcommand."""

import json
import os
import re
import subprocess

import numpy as np
import pytest
from cli_support import (FIXTURES, GQA, PROGRAM, ROOT, ROWS, complaint, output, sophia, text_model, training,
                         write_rows)
from resume_support import CLOCK
from safetensors.numpy import load_file

SUBCOMMANDS = ["train", "generate", "chat", "eval", "compare", "preview", "tokenize", "logits", "inspect", "doctor",
               "prove", "plan", "merge", "export", "kernels", "report"]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return text_model(tmp_path_factory.mktemp("model") / "chatty")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "adapter"
    output(*training(out, **{"lora-r": 4, "learning-rate": 0.1}))
    return out


def test_help_lists_every_subcommand():
    text = output("--help")
    for name in SUBCOMMANDS:
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)
    assert "Example:" in text
    assert sophia().returncode == 2


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_subcommand_help_has_an_example(name):
    assert f"Example:\n  sophia {name}" in output(name, "--help")


def test_train_help_groups_options_with_defaults():
    text = output("train", "--help")
    for part in ["Model and data:", "LoRA:", "Optimiser:", "N=16", "X=2e-4", "--no-shuffle"]:
        assert part in text


def test_version_is_the_build_s():
    version = re.search(r"VERSION ([\d.]+) LANGUAGES", (ROOT / "CMakeLists.txt").read_text())[1]
    assert output("--version") == f"sophia {version}\n"


def test_training_writes_adapter_and_metrics(adapter):
    metrics = [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in metrics] == [1, 2]
    assert set(metrics[0]) == {"step", "epoch", "loss", "grad_norm", "learning_rate", *CLOCK}
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert {path.name for path in adapter.iterdir()} == {
        "metrics.jsonl", "plan.json", "run.json", "training_args.json", "adapter_config.json",
        "adapter_model.safetensors"}


def test_flags_override_yaml_and_dashes_equal_underscores(tmp_path, adapter):
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {GQA}\ndata: {ROWS}\noutput-dir: {tmp_path / 'unused'}\ndtype: float32\n"
        "lora_r: 4\nlearning_rate: 0.1\nmax_steps: 7\ntarget_modules: [q_proj, v_proj]\n"
    )
    out = tmp_path / "out"
    output("train", "--config", config, "--output_dir", out, "--max_steps=2",
           "--lora-target-modules", "all-linear")
    assert not (tmp_path / "unused").exists()
    trained = [folder / "adapter_model.safetensors" for folder in (out, adapter)]
    assert trained[0].read_bytes() == trained[1].read_bytes()


@pytest.mark.parametrize("name", ["qv_linear", "all_linear_accumulate", "sgd"])
def test_five_steps_equal_the_fixture_s(tmp_path, name):
    """The whole program against torch, transformers and peft, from the command line to the files."""
    runs = json.loads((FIXTURES / "sft" / "runs.json").read_text())
    run = next(run for run in runs if run["name"] == name)
    assert len(run["steps"]) == 5
    options = {key.replace("_", "-"): value for key, value in run["options"].items()}
    text = output(*training(tmp_path / "out", **options, model=FIXTURES / run["base"],
                            data=FIXTURES / run["data"], **{"init-adapter": FIXTURES / run["init_adapter"]}),
                  "--no-shuffle", "--no-packing")
    assert "5 steps" in text
    metrics = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([step["loss"] for step in metrics],
                               [step["loss"] for step in run["steps"]], rtol=1e-5)
    ours = load_file(tmp_path / "out" / "adapter_model.safetensors")
    theirs = load_file(FIXTURES / run["adapter_out"])
    assert ours.keys() == theirs.keys()
    for tensor, expected in theirs.items():
        np.testing.assert_allclose(ours[tensor], expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_target_modules_take_names_or_an_expression(tmp_path):
    names, expression = ["q_proj", "v_proj"], r".*\.[qv]_proj"
    for given, expected in [("q_proj, v_proj", names), (expression, expression)]:
        output(*training(tmp_path / "out", **{"target-modules": given}))
        config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
        assert config["target_modules"] == expected


def test_no_shuffle_keeps_the_order(tmp_path):
    losses = []
    for flags in (["--no-shuffle"], ["--shuffle=false"], []):
        output(*training(tmp_path / "out", batch_size=1), *flags)
        losses.append(json.loads((tmp_path / "out/metrics.jsonl").read_text().split("\n")[0])["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_logits_match_the_fixture(tmp_path):
    out = tmp_path / "logits.safetensors"
    output("logits", "--model", GQA, "--ids-file", GQA / "ids.safetensors", "--out", out)
    expected = load_file(GQA / "logits.safetensors")["logits"]
    got = load_file(out)["logits"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.ptp(expected))
    first = load_file(GQA / "ids.safetensors")["ids"][0]
    output("logits", "--model", GQA, "--ids", ",".join(map(str, first)), "--out", out)
    np.testing.assert_allclose(load_file(out)["logits"], got[:1], atol=1e-5)


def test_adapter_changes_logits(tmp_path, adapter):
    outs = [tmp_path / name for name in ("base.safetensors", "adapted.safetensors")]
    for out, flags in zip(outs, ([], ["--adapter", adapter])):
        output("logits", "--model", GQA, "--ids", "1,2,3", "--out", out, *flags)
    base, adapted = (load_file(out)["logits"] for out in outs)
    assert np.abs(base - adapted).max() > 1e-3


def test_generates_the_fixture_s_ids():
    cases = json.loads((FIXTURES / "generate" / "greedy.json").read_text())
    for case in [case for case in cases if case["base"] == "llama/gqa"][2:4]:
        flags = ["--adapter", FIXTURES / case["adapter"]] if case["adapter"] else []
        text = output("generate", "--model", GQA, "--dtype", "f32", "--ids",
                      ",".join(map(str, case["prompt"])), "--max-new-tokens",
                      len(case["new_ids"]), *flags)
        assert json.loads(text) == case["new_ids"]


def test_prompt_equals_messages_and_raw_template(tmp_path, chatty):
    messages = tmp_path / "messages.json"
    messages.write_text(json.dumps([{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]))
    common = ["generate", "--model", chatty, "--max-new-tokens", 12]
    answers = {output(*common, *more) for more in (
        ["--messages", messages], ["--prompt", "Hi", "--system", "S"],
        ["--raw", "--prompt", "s:S<e>u:Hi<e>a:"])}
    assert len(answers) == 1
    assert answers != {output(*common, "--prompt", "Hi", "--temperature", 5)}


def test_sampling_follows_its_flags(chatty):
    def answer(*flags):
        return output("generate", "--model", chatty, "--prompt", "Hi", "--max-new-tokens", 12, *flags)

    hot = ["--temperature", 5]
    greedy = answer()
    assert answer(*hot, "--top-k", 1) == greedy
    assert answer(*hot, "--top-p", 1e-6) == greedy
    first = answer(*hot, "--seed", 1, "--top-p", 0.9)
    assert first == answer(*hot, "--seed", 1, "--top-p", 0.9)
    assert first != answer(*hot, "--seed", 2, "--top-p", 0.9)
    assert first != greedy


def test_batch_mode_writes_predictions_and_counts(tmp_path, chatty):
    rows = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]}
            for text in ("one", "three", "five!")]
    data, out = write_rows(tmp_path / "rows.jsonl", *rows), tmp_path / "predictions.jsonl"
    common = ["generate", "--model", chatty, "--max-new-tokens", 8, "--dtype", "f32"]
    text = output(*common, "--data", data, "--out", out, "--exact-match", "--batch-size", 2)
    assert "exact match: 0 of 3 (0.0 %)" in text
    predictions = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["prompt"] for one in predictions] == [row["messages"][:1] for row in rows]
    alone = output(*common, "--prompt", "three").rstrip("\n")
    assert predictions[1]["generated"] == alone
    rows[1]["messages"][1]["content"] = alone
    assert "1 of 3" in output(*common, "--data", write_rows(data, *rows), "--exact-match")


def test_batch_mode_needs_answers_only_to_compare(tmp_path, chatty):
    question = [{"role": "user", "content": "one"}]
    rows = [{"messages": question}, {"question": "one"}, {"prompt": question}, {"instruction": "one"},
            {"messages": [*question, {"role": "assistant", "content": "x"}]}, {"prompt": "u:one<e>a:"}]
    data, out = write_rows(tmp_path / "rows.jsonl", *rows), tmp_path / "predictions.jsonl"
    common = ["generate", "--model", chatty, "--max-new-tokens", 8, "--dtype", "f32", "--data", data]
    output(*common, "--out", out)
    predictions = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["expected"] for one in predictions] == [None, None, None, None, "x", None]
    assert [one["prompt"] for one in predictions] == [question] * 5 + ["u:one<e>a:"]
    assert len({one["generated"] for one in predictions}) == 1
    assert complaint(1, *common, "--exact-match") == (
        f"[{data}:1] expected an answer in text to compare with, got none")


def test_chat_remembers_until_reset(chatty):
    def talk(*lines):
        text = "".join(line + "\n" for line in lines)
        return output("chat", "--model", chatty, "--max-new-tokens", 8, "--max-length", 128, stdin=text)

    once = talk("Hi")
    assert talk("Hi", "/reset", "Hi", "/exit", "Hi") == once * 2
    assert talk("Hi", "Hi") != once * 2
    assert "did you mean '/reset'?" in talk("/rest")
    assert "reached 128 tokens" in talk("x" * 200)


def test_inspect_says_what_it_is(adapter):
    for path, words in [(GQA, ["llama", "40944", "F32", "21 tensors"]), (adapter, ["LoRA adapter", "all-linear"]),
                        (FIXTURES / "weights/types.gguf", ["GGUF", "Q4_K"]),
                        (GQA / "logits.safetensors", ["safetensors"])]:
        text = output("inspect", path)
        assert all(word in text for word in words)
    assert "model.embed_tokens.weight F32 [128, 48]" in output("inspect", GQA, "--tensors")


def test_inspect_of_a_folder_of_neither(tmp_path):
    line = complaint(1, "inspect", tmp_path)
    assert line == f"[{tmp_path}] expected a folder with config.json or adapter_config.json, got neither"


def test_device_takes_an_index(tmp_path):
    last = re.findall(r"device +(cpu:\d+) ", sophia("doctor").stdout)[-1]
    logits = tmp_path / "logits.safetensors"
    results = []
    for device in ("cpu", "cpu:0", last):
        output("logits", "--model", GQA, "--ids", "1,2,3", "--out", logits, "--device", device)
        output(*training(tmp_path / "out", device=device))
        results.append((logits.read_bytes(), (tmp_path / "out/adapter_model.safetensors").read_bytes()))
    assert results[0] == results[1] == results[2]


def sections(text):
    """doctor's headings, each with its lines."""
    found = {}
    for line in text.splitlines():
        if line.startswith("  "):
            found[heading].append(line.strip())
        elif line:
            found[heading := line] = []
    return found


def test_doctor_finds_the_cpu(tmp_path):
    result = sophia("doctor", env={"SOPHIA_CACHE_DIR": str(tmp_path / "cache")})
    assert result.returncode == 0  # libtpu may write to stderr while it is loaded
    found = sections(result.stdout)
    assert {"machine", "compiled programs", "models", "cpu", "tpu", "cuda"} <= set(found)
    machine, cache, cpu = (" ".join(found[name]) for name in ("machine", "compiled programs", "cpu"))
    assert f"cores       {len(os.sched_getaffinity(0))}" in machine
    assert f"{tmp_path}/cache" in cache and "0 programs, 0 B of at most 2.15 GB" in cache
    assert re.search(r"PJRT API 0\.\d+, StableHLO 1\.\d+\.\d+", cpu)
    assert re.search(r"device +cpu:0 CpuDevice\(id=0\), memory: device, pinned_host", cpu)
    assert "ready: compiled and ran a program" in cpu
    assert list(found)[-1].startswith("Ready: cpu.")


def test_doctor_counts_compiled_programs(tmp_path):
    env = {"SOPHIA_CACHE_DIR": str(tmp_path / "cache")}
    output("logits", "--model", GQA, "--ids", "1", "--out", tmp_path / "x.safetensors", env=env)
    assert re.search(r"holds +1 programs, [1-9]", sophia("doctor", env=env).stdout)
    (tmp_path / "file").touch()
    text = sophia("doctor", env={"SOPHIA_CACHE_DIR": str(tmp_path / "file")}).stdout
    assert "To fix: set SOPHIA_CACHE_DIR to a folder that can be written to" in text


def test_doctor_names_the_platform_of_a_chosen_plugin():
    plugins = ROOT / ".deps" / "plugins"
    for file, platform, exit_code in [("pjrt_cpu.so", "cpu", 0), ("libtpu.so", "tpu", 1)]:
        path = str(plugins / file)
        for by, result in [("--plugin", sophia("doctor", "--plugin", path)),
                           ("SOPHIA_PJRT_PLUGIN", sophia("doctor", env={"SOPHIA_PJRT_PLUGIN": path}))]:
            found = sections(result.stdout)
            assert f"plugin      {path}" in found[f"{platform}, by {by}"]
            assert "cpu" not in found and "cuda" not in found
            assert result.returncode == exit_code  # there is no TPU to be ready


def test_prove_holds_on_one_repeated_batch(tmp_path):
    row = {"input_ids": list(range(2, 18))}
    data = write_rows(tmp_path / "rows.jsonl", row, row)
    common = ["prove", "--model", GQA, "--data", data, "--dtype", "f32"]
    text = output(*common, "--learning-rate", 0.01, "--lr-scheduler-type", "constant")
    assert re.search(r" 0 moved; .*the proof holds", text)
    before, after = re.findall(r"W (?:before|after): +(\w{64})", text)
    assert before == after
    failed = sophia(*common, "--learning-rate", 0)
    assert failed.returncode == 1
    assert "the proof FAILS" in failed.stdout


def test_prove_alone_takes_the_demo_s_model_and_rows(tmp_path):
    result = subprocess.run([PROGRAM, "prove", "--max-length", "32", "--batch-size", "1"], cwd=tmp_path,
                            capture_output=True, text=True, timeout=300, check=True)
    assert re.search(r"^data: .*, 1000 truncated to max_length", result.stdout, re.M)
    assert re.search(r" 0 moved; .*: the proof holds$", result.stdout)


def test_init_adapter_sets_the_lora_options(tmp_path):
    run = training(tmp_path / "out", **{"init-adapter": FIXTURES / "sft/adapters/qv"})
    assert complaint(2, *run, "--lora-r", 3) == (
        "--lora-r: expected 4 as --init-adapter has it, or nothing, got 3")
    assert complaint(2, *run, "--use-rslora") == "expected --use-rslora or --init-adapter, got both"
    output(*run, "--lora-r", 4, "--lora-alpha", 8)


CHIPS = ["v2", "v3", "v4", "v5e", "v5p", "v6e", "tpu7x"]
KERNELS = ["adamw", "adamw_8bit", "add_rms_norm", "add_rms_norm_backward", "dropout", "flash_attention", "flash_attention_dkv", "flash_attention_dq",
           "flash_attention_rows", "glu", "glu_backward", "linear_cross_entropy", "linear_cross_entropy_dh", "quant_matmul",
           "quant_matmul_dx", "rms_norm", "rms_norm_backward", "rotary"]


def test_kernels_fit_every_chip():
    facts = json.loads(output("kernels", "--json"))
    assert sorted((f["name"], f["chip"]) for f in facts) == sorted((k, c) for k in KERNELS for c in CHIPS)
    for fact in facts:
        assert 0 < fact["vmem_bytes"] <= fact["vmem_limit"], fact
        assert fact["roofline_seconds"] > 0 and fact["flops_per_byte"] > 0
    # 4096 queries of 32 heads see half of as many keys: two products of 128 elements each.
    flash = next(f for f in facts if f["name"] == "flash_attention" and f["chip"] == "v5e")
    assert abs(flash["flops"] / (2 * 2 * 32 * 128 * 4096 * 4096 / 2) - 1) < 0.15
    # One of a v3 chip's two cores has half of its peak.
    half = next(f for f in facts if f["name"] == "flash_attention" and f["chip"] == "v3")
    assert half["bound"] == "compute" and abs(half["roofline_seconds"] / (half["flops"] / 70e12) - 1) < 1e-6
    bound = {(f["name"], f["chip"]): f["bound"] for f in facts}
    for chip in ("v5e", "v5p", "v6e"):
        for product in ("flash_attention", "flash_attention_dq", "flash_attention_dkv", "linear_cross_entropy",
                        "linear_cross_entropy_dh", "quant_matmul", "quant_matmul_dx"):
            assert bound[product, chip] == "compute", (product, chip)


def test_kernels_prints_a_table_and_texts():
    table = output("kernels", "--chip", "v5e")
    assert all(re.search(rf"^{name}: ", table, re.MULTILINE) for name in KERNELS)
    assert output("kernels", "--dump", "rms_norm", "--chip", "v2").count("func.func") >= 1
    assert complaint(2, "kernels", "--dump", "rms_norm", "--json") == "expected --dump or --json, got both"
    assert complaint(2, "kernels", "--dump", "rms_nrm") == (
        "--dump: expected a kernel of TPU v5e (" + ", ".join(
            json_names(output("kernels", "--json", "--chip", "v5e"))) + "), got 'rms_nrm' (did you mean 'rms_norm'?)")


def json_names(text):
    return [fact["name"] for fact in json.loads(text)]


def test_mosaic_kernels_need_a_tpu(tmp_path):
    assert complaint(1, *training(tmp_path / "out", kernels="mosaic")).startswith(
        "[kernels] expected a TPU for mosaic, or interpret or reference, got a device ")
