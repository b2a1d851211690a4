"""`sophia plan`: its promise against libtpu's own figures, a real run on the CPU, and bad input."""

import json
import os
import re
import shutil
import subprocess

import pytest
from cli_support import GQA, PROGRAM, ROOT, SMOLLM2, complaint, output, peak_of, sophia, write_rows


@pytest.fixture
def config_only(tmp_path):
    """A model's folder without weights."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(GQA / "config.json", folder)
    return folder


def planned(*arguments, **more):
    """The object of a plan, which need not fit."""
    result = sophia("plan", *arguments, "--json", **more)
    assert result.stderr == "" and result.returncode in (0, 1), result
    plan = json.loads(result.stdout)
    assert result.returncode == (0 if plan["fits"] else 1)
    return plan


def test_a_tpu_that_is_not_here_confirms(config_only):
    plan = planned("--model", config_only, "--max-length", 64, "--batch-size", 2)
    assert plan["fits"] and plan["confirmed"] and plan["compile_seconds"] > 0
    assert (plan["seq"], plan["batch"], plan["policy"], plan["policy_reason"]) == (64, 2, "products", "the first to try")
    assert plan["limit_bytes"] == 16_909_336_064
    assert 0 < plan["step_seconds_estimate"] < 1 and plan["step_estimate_has_cycles"]
    assert sum(plan["bytes"].values()) == plan["peak_bytes"] < 50e6
    assert plan["compiler"].startswith("TFRT TPU v5 lite")


def test_the_early_check_says_what_does_not_fit():
    text = sophia("plan", "--model", SMOLLM2, "--max-length", 8192, "--batch-size", 16, "--no-confirm",
                  "--policy", "products")
    assert text.returncode == 1
    assert re.search(r"peak +[0-9.]+ GB of 16\.9 GB: does not fit, by [0-9.]+ GB", text.stdout)
    assert re.search(r"hint: --policy layers\S* fits; with products \d+ tokens are the most that do "
                     r"\(by the early check\)\n", text.stdout)
    assert "stopped at the compiler's early check: not confirmed" in text.stdout


def test_without_libtpu_a_formula_plans(config_only, tmp_path):
    """A copy of the program, where no plugin lies beside or above it, against the compiler's own figure."""
    alone = shutil.copy(PROGRAM, tmp_path)
    small = ["plan", "--model", config_only, "--max-length", "128", "--batch-size", "64", "--policy", "layers"]
    large = ["plan", "--model", ROOT / "examples" / "plan" / "llama-3.1-8b", "--quant", "nf4", "--lora-r", "32",
             "--batch-size", "1", "--max-length", "131072", "--policy", "layers,offload,tile=2048"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*command):
        return subprocess.run([alone, *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
                              timeout=60, check=False)

    result = run(*small)
    assert (result.returncode, result.stderr) == (0, "")
    assert "libtpu is not installed (pip install libtpu): by a formula of live arrays, not confirmed" in result.stdout
    by_formula = json.loads(run(*large, "--json").stdout)
    assert by_formula["by_formula"] and by_formula["fits"] and not by_formula["confirmed"]
    compiled = planned(*large[1:], "--no-confirm")
    assert not compiled["by_formula"]
    assert 0.8 < by_formula["peak_bytes"] / compiled["peak_bytes"] < 1.05


def test_the_host_may_be_short_of_memory():
    offloads = ("--model", SMOLLM2, "--max-length", 2048, "--batch-size", 1, "--policy", "layers,offload", "--no-confirm")
    free = planned(*offloads)
    assert free["fits"] and free["host_limit_bytes"] is None
    enough = planned(*offloads, "--host-memory", free["host_bytes"] * 1.01 / 1e9)
    assert enough["fits"] and enough["host_limit_bytes"] >= free["host_bytes"]
    text = sophia("plan", *offloads, "--host-memory", 0.05)
    assert text.returncode == 1
    assert re.search(r"^peak .*: fits, but not the host$", text.stdout, re.M)
    assert re.search(r"^host memory +[0-9.]+ [MG]B of 50 MB: does not fit, by [0-9.]+ [MG]B; [0-9.]+ MB are offloaded",
                     text.stdout, re.M)
    assert complaint(2, "plan", *offloads, "--host-memory", 0) == "--host-memory: expected a number above 0, got 0"


def test_the_first_policy_that_fits_is_chosen():
    plan = planned("--model", SMOLLM2, "--max-length", 8192, "--batch-size", 16, "--no-confirm")
    assert plan["fits"] and plan["policy"].startswith("layers")
    assert re.match(r"the first that fits: products needs [0-9.]+ GB", plan["policy_reason"])


def test_what_cannot_fit_gets_a_length_that_does():
    plan = planned("--model", SMOLLM2, "--max-length", 8192, "--batch-size", 512, "--no-confirm")
    assert not plan["fits"] and not plan["confirmed"] and plan["compile_seconds"] is None
    assert plan["peak_bytes"] > plan["limit_bytes"]
    found = re.fullmatch(r"(\d+) tokens are the most that fit, with --policy layers,offload,tile=512,kv_heads=1 "
                         r"\(by the early check\)", plan["hint"])
    shorter = planned("--model", SMOLLM2, "--max-length", found[1], "--batch-size", 512, "--no-confirm",
                      "--policy", "layers,offload,tile=512,kv_heads=1")
    assert shorter["fits"]


@pytest.mark.parametrize(("quant", "policy", "batch", "length"), [
    ("auto", "products", 2, 128), ("nf4", "products", 2, 128), ("auto", "layers", 1, 512)])
def test_the_cpu_keeps_its_promise(tmp_path, quant, policy, batch, length):
    tokens = list(range(5, 5 + length))
    rows = write_rows(tmp_path / "rows.jsonl", *[{"input_ids": tokens, "labels": tokens}] * batch)
    shape = ("--model", SMOLLM2, "--batch-size", batch, "--max-length", length, "--quant", quant, "--policy", policy)
    plan = planned(*shape, "--topology", "cpu")
    peak, said = peak_of("train", *shape, "--data", rows, "--out", tmp_path / "out", "--max-steps", 2,
                         env={"SOPHIA_CACHE_DIR": ""})  # compiling takes memory too
    assert plan["peak_bytes"] == pytest.approx(peak, rel=0.1)
    # The run's own verdict, from the step that it has compiled once and before it loads weights.
    verdict = re.search(rf"^plan: policy {policy}, (\d+) MB of [0-9.]+ GB: fits, ", said, re.M)
    assert said.count("compiled in") == 1 and said.index("plan: ") < said.index("model: ")
    assert float(verdict[1]) * 1e6 == pytest.approx(peak, rel=0.2)


def test_a_run_takes_the_saved_step(tmp_path):
    """Compiled by the plan, it serves runs of any length and learning rate on rows of this shape."""
    rows = write_rows(tmp_path / "rows.jsonl", *[{"input_ids": list(range(3, 40))}] * 4)
    step = ("--model", GQA, "--data", rows, "--batch-size", 2, "--lora-r", 2, "--dtype", "f32")
    folder = tmp_path / "compiled"
    text = output("plan", *step, "--topology", "cpu", "--save", folder)
    assert f"compiled step     for SOPHIA_CACHE_DIR={folder} sophia train" in text
    for i, more in enumerate([("--max-steps", 2), ("--max-steps", 1, "--lr", 0.01, "--warmup-steps", 1)]):
        said = output("train", *step, "--out", tmp_path / f"run{i}", *more, env={"SOPHIA_CACHE_DIR": str(folder)})
        assert "loaded from cache in" in said, said
    other = output("train", *step, "--out", tmp_path / "other", "--max-steps", 1, "--batch-size", 1,
                   env={"SOPHIA_CACHE_DIR": str(folder)})
    assert "compiled in" in other
    assert complaint(2, "plan", *step, "--save", folder, "--no-confirm") == "expected --save or --no-confirm, got both"


def test_a_step_for_a_tpu_is_saved(config_only, tmp_path):
    folder = tmp_path / "compiled"
    output("plan", "--model", config_only, "--max-length", 64, "--batch-size", 2, "--save", folder)
    [step] = folder.iterdir()
    assert len(step.name) == 64 and step.stat().st_size > 10_000


def test_a_saved_step_is_for_copies_of_one_libtpu(config_only, tmp_path):
    """On another machine the file has another date; another version has another size and build."""
    folder, libtpu = tmp_path / "compiled", tmp_path / "libtpu.so"
    shutil.copy(ROOT / ".deps" / "plugins" / "libtpu.so", libtpu)
    alone = shutil.copy(PROGRAM, tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TPU_LIBRARY_PATH": str(libtpu)}

    def saved():
        subprocess.run([alone, "plan", "--model", config_only, "--max-length", "64", "--batch-size", "2", "--save", folder],
                       cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
        return {step.name for step in folder.iterdir()}

    first = saved()
    os.utime(libtpu, (0, 0))
    assert len(first) == 1 and saved() == first
    with libtpu.open("ab") as file:
        file.write(b"\0")
    assert len(saved()) == 2


def test_the_longest_context_fits_and_the_next_does_not():
    few = ("--model", SMOLLM2, "--batch-size", 16, "--no-confirm", "--policy", "products")
    longest = planned(*few, "--max-length", "auto")
    assert longest["fits"] and longest["peak_bytes"] <= longest["limit_bytes"]
    assert longest["seq"] % 128 == 0 and longest["seq"] < 8192
    beyond = planned(*few, "--max-length", longest["seq"] + 128)
    assert longest["peak_bytes"] < beyond["peak_bytes"]
    assert not beyond["fits"]


def test_a_short_context_fits_whole(config_only):
    plan = planned("--model", config_only, "--batch-size", 1, "--max-length", "auto")
    assert plan["fits"] and plan["confirmed"] and plan["seq"] == 128
    assert (plan["policy"], plan["policy_reason"]) == ("products", "the first that fits 128 tokens")


def test_a_host_short_of_memory_gets_a_policy_that_offloads_nothing():
    """On 1 GB, offloaded inputs of 30 layers end long before what the device could keep."""
    auto = ("--model", SMOLLM2, "--batch-size", 64, "--max-length", "auto", "--no-confirm")
    short = planned(*auto, "--host-memory", 1)
    assert short["fits"] and short["offloaded_bytes"] == 0
    forced = planned(*auto, "--host-memory", 1, "--policy", "layers,offload")
    assert forced["fits"] and forced["seq"] < short["seq"] and forced["host_bytes"] <= 1e9


def test_hints_say_when_the_host_is_short():
    rows = ("--model", SMOLLM2, "--max-length", 512, "--no-confirm", "--host-memory")
    tiny = planned(*rows, 0.05)
    assert not tiny["fits"]
    assert re.fullmatch(r"no context of this model fits this host: 128 tokens need [0-9.]+ MB of the host", tiny["hint"])
    offloads = planned(*rows, 0.07, "--policy", "layers,offload,prefetch", "--batch-size", 8)
    assert not offloads["fits"] and re.match("--policy products fits; with layers,offload,prefetch ", offloads["hint"])


def test_policies_side_by_side(config_only):
    arguments = ("--model", config_only, "--max-length", 64, "--batch-size", 2, "--no-confirm")
    result = json.loads(output("plan", *arguments, "--compare", "--json"))
    assert [plan["policy"] for plan in result] == [
        "products", "layers", "layers,offload,prefetch", "layers,offload", "layers,offload,kv_heads=1"]
    one = planned(*arguments, "--policy", "layers,offload")
    assert one["policy"] == "layers,offload"
    assert one["offloaded_bytes"] == 2 * 2 * 64 * 48 * 2  # layers, sequences, tokens, width, bf16
    table = output("plan", *arguments, "--compare")
    for plan in result:
        assert re.search(f"^{plan['policy']} +64 ", table, re.M), table


@pytest.mark.parametrize("name", ["v5:1x1", "v5e:3x3", "v5e", "h100"])
def test_a_topology_that_does_not_exist(config_only, name):
    line = complaint(1, "plan", "--model", config_only, "--topology", name)
    assert "[topology] expected one of cpu, v2:1x1," in line and f"got '{name}'" in line


def test_bad_requests(config_only, tmp_path):
    line = complaint(1, "plan", "--model", config_only, "--max-length", 10**6)
    assert "[max_length] expected at most the model's" in line
    line = complaint(1, "plan", "--model", config_only, "--lora-target-modules", "nothing")
    assert "[target_modules] expected names among" in line
    line = complaint(1, "plan", "--model", tmp_path / "none")
    assert "expected a GGUF file or a model folder" in line
    assert "--model" in complaint(2, "plan", "--topology", "cpu")
    line = complaint(2, "plan", "--model", config_only, "--policy", "layer")
    assert line.startswith("--policy: expected everything, products, layers, ")
    line = complaint(2, "plan", "--model", config_only, "--policy", "layers", "--compare")
    assert line == "expected --policy or --compare, got both"
    line = complaint(2, "plan", "--model", config_only, "--policy", "layers,ofload")
    assert line.endswith(" or auto alone, got 'ofload' (did you mean 'offload'?)")
    line = complaint(1, "plan", "--model", config_only, "--max-length", 64,
                     "--policy", "layers,every=3")
    assert "a divisor of 2 layers, got 3" in line
    assert "an integer" in complaint(2, "plan", "--model", config_only, "--max-length", "all")


def test_the_table_names_every_part(config_only):
    text = output("plan", "--model", config_only, "--max-length", 32, "--no-confirm")
    for name in ("weights", "adapters", "optimiser state", "saved activations", "temporaries",
                 "peak", "host memory", "compilation", "step time"):
        assert re.search(f"^{name} +", text, re.M), name
    assert "not confirmed" in text and "an estimate" in text
