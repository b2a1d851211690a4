"""Checkpoints of `sophia train`: a run that is resumed ends as if it had never stopped."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from cli_support import FIXTURES, PROGRAM, ROWS, complaint, output, sophia, training, write_rows
from resume_support import STEPS, TINY, assert_same_end, checkpoints, rows
from safetensors.numpy import load_file

def run(out, *flags, **options):
    return [*training(out, **{**TINY, **options}), *flags]


def stopped_after(reference, out, step):
    """A copy of a run as a stop after `step` would have left it."""
    shutil.copytree(reference, out)
    for name in checkpoints(out):
        if int(name.split("-")[1]) > step:
            shutil.rmtree(out / name)
    (out / "adapter_model.safetensors").unlink()
    return out


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "out"
    output(*run(out))
    return out


def test_checkpoint_holds_what_its_step_left(reference):
    assert checkpoints(reference) == ["checkpoint-4", "checkpoint-8", "checkpoint-12"]
    folder = reference / "checkpoint-8"
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "run_state.json",
        "trainer_state.json", "training_args.json"}
    state = json.loads((folder / "trainer_state.json").read_text())
    lines = (reference / "metrics.jsonl").read_text().splitlines()
    epoch = json.loads(lines[7])["epoch"]
    assert (state["global_step"], state["max_steps"], state["epoch"]) == (8, 12, epoch)
    assert state["log_history"] == [json.loads(line) for line in lines[:8]]
    names = set(load_file(folder / "optimizer.safetensors"))
    adapter = load_file(folder / "adapter_model.safetensors")
    assert {name.split("/")[0] for name in names} == {"mu", "nu"}
    assert len(names) * 2 == len(adapter) * 2  # two moments a parameter, two layers a parameter
    last = (reference / "checkpoint-12" / "adapter_model.safetensors").read_bytes()
    assert last == (reference / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("options", [
    {"lr-scheduler-type": "linear", "warmup-steps": 3, "gradient-accumulation-steps": 3},
    {"optim": "sgd", "lr-scheduler-type": "cosine", "weight-decay": 0.1},
    {"optim": "adamw_8bit", "lora-r": 64},
    {"optim": "adamw_bf16"},
    {"objective": "isomorphism", "teacher": "random", "language-weight": 0.5},
    {"optim": "adafactor"},
    {"optim": "lion"},
    {"optim": "muon"},
    {"optim": "sophiag", "optim-args": "update_interval=3", "gradient-accumulation-steps": 2},
    {"optim": "sophiah", "optim-args": "update_interval=3"},
])
def test_schedule_and_data_go_on(tmp_path, options):
    output(*run(tmp_path / "whole", **options))
    for step in (4, 8):
        out = stopped_after(tmp_path / "whole", tmp_path / f"from-{step}", step)
        text = output(*run(out, "--resume", **options))
        assert f"resume: {step} of {STEPS} steps are done" in text
        assert_same_end(out, tmp_path / "whole")


def test_8_bit_moments_are_saved_as_such(tmp_path):
    def state(**options):
        out = tmp_path / options["optim"]
        output(*run(out, **{"lora-r": 64, "max-steps": 4, **options}))
        assert json.loads((out / "checkpoint-4" / "training_args.json").read_text())["optim"] == options["optim"]
        return load_file(out / "checkpoint-4" / "optimizer.safetensors")

    wide, coded = (state(optim=optim) for optim in ("adamw_torch", "adamw_8bit"))
    assert all(x.dtype == np.float32 for x in wide.values())
    codes = {name for name, x in coded.items() if x.dtype == np.uint8}
    assert codes == {name for name, x in wide.items() if x.size >= 4096} != set()
    for name in codes:
        kind, parameter = name.split("/")
        absmax = coded[f"{kind}_absmax/{parameter}"]
        assert len(np.unique(coded[name])) > 30 and np.all(absmax >= 0) and np.any(absmax > 0)
        assert (coded[name].nbytes + absmax.nbytes) < 0.3 * wide[name].nbytes
    # bitsandbytes' own name means the same run.
    out = tmp_path / "adamw_8bit"
    again = run(out, **{"lora-r": 64, "max-steps": 4, "optim": "adamw_bnb_8bit"})
    assert "4 of 4 steps are done" in output(*again, "--resume")


def test_rows_after_the_checkpoint_are_dropped(tmp_path, reference):
    out = stopped_after(reference, tmp_path / "out", 8)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step":99,"loss":1}\n{"step":100,"lo')
    output(*run(out, "--resume"))
    assert_same_end(out, reference)
    before, after = ((one / "metrics.jsonl").read_text().splitlines()[:8] for one in (reference, out))
    assert before == after


def test_from_a_path_into_another_folder(tmp_path, reference):
    out = tmp_path / "out"
    output(*run(out, **{"resume-from-checkpoint": reference / "checkpoint-4"}))
    assert checkpoints(out) == ["checkpoint-8", "checkpoint-12"]
    assert_same_end(out, reference)


def test_from_an_earlier_checkpoint_of_the_folder(tmp_path, reference):
    out = shutil.copytree(reference, tmp_path / "out")
    output(*run(out, **{"resume-from-checkpoint": out / "checkpoint-4"}))
    assert_same_end(out, reference)


def test_yaml_and_the_checkpoint_s_own_options(tmp_path, reference):
    out = stopped_after(reference, tmp_path / "out", 4)
    config = out / "checkpoint-4" / "training_args.json"
    copy = tmp_path / "run.yaml"
    copy.write_text(json.dumps({**json.loads(config.read_text()), "resume_from_checkpoint": True}))
    text = output("train", "--config", copy, "--out", out)
    assert "4 of 12 steps are done" in text
    assert_same_end(out, reference)


def test_auto_starts_anew_where_there_is_none(tmp_path, reference):
    out = tmp_path / "out"
    message = f"[{out}] expected a checkpoint to resume from, got none"
    assert complaint(1, *run(out, "--resume")) == message
    assert not out.exists()
    assert "resume:" not in output(*run(out, **{"resume-from-checkpoint": "auto"}))
    assert_same_end(out, reference)
    (out / "adapter_model.safetensors").unlink()
    assert "12 of 12 steps are done" in output(*run(out, **{"resume-from-checkpoint": "auto"}))
    assert_same_end(out, reference)


def test_older_checkpoints_are_rotated(tmp_path, reference):
    out = tmp_path / "out"
    output(*run(out, **{"save-steps": 2, "save-total-limit": 2}))
    assert checkpoints(out) == ["checkpoint-10", "checkpoint-12"]
    assert_same_end(out, reference)


def test_minutes_and_strategy(tmp_path):
    output(*run(tmp_path / "often", **{"save-steps": 100, "save-minutes": 1e-9, "max-steps": 3}))
    assert checkpoints(tmp_path / "often") == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
    output(*run(tmp_path / "never", **{"save-strategy": "no", "save-minutes": 1e-9, "max-steps": 3}))
    assert not checkpoints(tmp_path / "never")


def test_checkpoints_of_another_run_are_not_mixed_in(tmp_path, reference):
    out = shutil.copytree(reference, tmp_path / "out")
    message = (f"[{out}] expected a folder without checkpoints (resume continues the latest, "
               "overwrite_output_dir deletes them), got checkpoint-12")
    assert complaint(1, *run(out)) == message
    elsewhere = {"resume-from-checkpoint": reference / "checkpoint-4"}
    assert complaint(1, *run(out, **elsewhere)) == message
    output(*run(out, "--overwrite-output-dir", **{"max-steps": 2}))
    assert checkpoints(out) == ["checkpoint-2"]


@pytest.mark.parametrize("flags", [["--overwrite-output-dir"], ["--resume-from-checkpoint", "x"]])
def test_contradictions(tmp_path, flags):
    assert "got both" in complaint(2, *run(tmp_path / "out", "--resume", *flags))


# ---- checkpoints that cannot be continued

def test_other_options_data_and_model_are_named(tmp_path, reference):
    out = shutil.copytree(reference, tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    data = write_rows(tmp_path / "rows.jsonl", *[{"input_ids": [1, 2, 3, 4]}] * 3)
    model = FIXTURES / "llama" / "rope_theta"
    for options, reason in [
        ({"learning-rate": 0.5, "lora-r": 4}, "lora_r 4 (saved: 2), learning_rate 0.5 (saved: 0.01)"),
        ({"data": data}, "data "), ({"model": model}, "model "), ({"max-steps": 20}, "max_steps 20"),
    ]:
        line = complaint(1, *run(out, "--resume", **options))
        assert "checkpoint-12] expected the run that this checkpoint is of, got another" in line
        assert reason in line
    assert "with 3 examples (saved:" in complaint(1, *run(out, "--resume", data=data))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_moved_files_are_the_same_run(tmp_path, reference):
    out = stopped_after(reference, tmp_path / "moved" / "out", 8)
    data = shutil.copy(ROWS, tmp_path / "other.jsonl")
    output(*run(out, "--resume", data=data))
    assert_same_end(out, reference)


def test_incomplete_and_damaged_checkpoints(tmp_path, reference):
    out = stopped_after(reference, tmp_path / "out", 4)
    folder = out / "checkpoint-4"
    for name in ("optimizer.safetensors", "adapter_model.safetensors", "trainer_state.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + b"?")
        assert f"{name}] expected the file as it was saved" in complaint(1, *run(out, "--resume"))
        (folder / name).unlink()
        line = complaint(1, *run(out, "--resume"))
        assert line == f"[{folder}] expected a complete checkpoint, got one without {name}"
        (folder / name).write_bytes(whole)
    state = json.loads((folder / "run_state.json").read_text())
    for text, message in [
        (json.dumps({**state, "format": 1}), "expected a checkpoint of format 2, got 1"),
        (json.dumps({**state, "data": 3}), "expected key 'data' (an object), got number"),
        ("{", "expected valid JSON"), ("[]", "expected an object, got array"),
    ]:
        (folder / "run_state.json").write_text(text)
        assert message in complaint(1, *run(out, "--resume"))
    (folder / "run_state.json").unlink()
    assert "with run_state.json, got a place without it" in complaint(1, *run(out, "--resume"))
    absent = {"resume-from-checkpoint": tmp_path / "none"}
    assert "none] expected a checkpoint of this program" in complaint(1, *run(tmp_path / "new", **absent))


def test_a_folder_serves_one_run(tmp_path, reference):
    out = shutil.copytree(reference, tmp_path / "out")
    held = os.open(out, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    message = f"[{out}] expected a folder that no other run writes into, got one in use"
    assert complaint(1, *run(out, "--resume")) == message
    os.close(held)
    output(*run(out, "--resume"))


# ---- runs that are stopped

def wait_for_rows(process, out, count):
    metrics = out / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_stop(tmp_path, number, code):
    options = {"max-steps": 1000000, "save-strategy": "no"}
    out = tmp_path / "out"
    process = subprocess.Popen([PROGRAM, *map(str, run(out, **options))], stdout=subprocess.PIPE, text=True)
    wait_for_rows(process, out, 5)
    process.send_signal(number)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == code
    [saved] = checkpoints(out)
    step = int(saved.split("-")[1])
    assert f"stopped by {number.name} after step {step} of 1000000; --resume continues" in text
    assert len(rows(out)) == step
    assert not (out / "adapter_model.safetensors").exists()

    process = subprocess.Popen([PROGRAM, *map(str, run(out, "--resume", **options))])
    wait_for_rows(process, out, step + 5)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    end = len(rows(out))
    assert checkpoints(out) == [saved, f"checkpoint-{end}"]
    whole = tmp_path / "whole"
    output(*run(whole, **{"max-steps": end}))
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        name = f"checkpoint-{end}/{name}"
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert rows(out) == rows(whole)


def test_a_state_that_gives_nan_is_not_saved(tmp_path):
    """The rate is 0 in the first step and absurd in the second, so the third sees no finite loss."""
    out = tmp_path / "out"
    warm = {"lr-scheduler-type": "constant_with_warmup", "warmup-steps": 2, "learning-rate": 1e38}
    line = complaint(1, *run(out, **{**warm, "save-steps": 1, "save-total-limit": 1}))
    assert line == ("[train] expected a finite loss at step 3, got nan; "
                    f"the last good state is {out / 'checkpoint-1'}")
    assert checkpoints(out) == ["checkpoint-1"]


def test_a_full_disk_costs_checkpoints_only(tmp_path, reference):
    """A limit on the size of files stands for the disk: the optimiser's state does not fit."""
    out = stopped_after(reference, tmp_path / "out", 4)
    before = {path: path.read_bytes() for path in (out / "checkpoint-4").iterdir()}
    sizes = {path.name: path.stat().st_size for path in (reference / "checkpoint-4").iterdir()}
    limit = sizes["optimizer.safetensors"] - 1
    assert limit > max(size for name, size in sizes.items() if name != "optimizer.safetensors")
    result = subprocess.run(
        [PROGRAM, *map(str, run(out, "--resume"))], capture_output=True, text=True, check=False,
        restore_signals=False,  # keeps SIGXFSZ ignored, so that writing fails
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert result.returncode == 0, result
    warnings = result.stderr.splitlines()
    assert len(warnings) == 2
    for line in warnings:
        assert line.startswith("sophia: warning: [") and line.endswith(
            "got: File too large; the run goes on without this checkpoint")
    assert checkpoints(out) == ["checkpoint-4"]
    assert {path: path.read_bytes() for path in (out / "checkpoint-4").iterdir()} == before
    assert not list(out.glob("tmp*"))
    adapters = [(one / "adapter_model.safetensors").read_bytes() for one in (out, reference)]
    assert adapters[0] == adapters[1]
    assert rows(out) == rows(reference)


def test_a_full_disk_at_the_end_leaves_the_last_checkpoint(tmp_path, reference):
    """The limit stands for the disk again: no adapter fits."""
    out = stopped_after(reference, tmp_path / "out", 8)
    limit = (reference / "adapter_model.safetensors").stat().st_size - 1
    result = subprocess.run(
        [PROGRAM, *map(str, run(out, "--resume"))], capture_output=True, text=True, check=False,
        restore_signals=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"sophia: error: [{out / 'adapter_model.safetensors'}] expected to write the whole file, got: File too large; "
        f"--resume-from-checkpoint {out / 'checkpoint-8'} goes on from there")
    output(*run(out, "--resume"))
    assert_same_end(out, reference)


def test_leftovers_of_a_killed_writer_are_removed(tmp_path, reference):
    out = stopped_after(reference, tmp_path / "out", 8)
    shutil.copytree(out / "checkpoint-8", out / "tmp-checkpoint-12")
    shutil.copytree(out / "checkpoint-4", out / "tmp-deleted-4")
    for name in ("adapter_model.safetensors", "plan.json"):
        (out / f"{name}.123.tmp").write_text("half")
    (out / "samples.jsonl").write_text("{}")  # answers of the adapter before
    (out / "mine.tmp").write_text("kept")
    assert sophia(*run(out, "--resume")).returncode == 0
    assert (out / "mine.tmp").read_text() == "kept" and not (out / "samples.jsonl").exists()
    (out / "mine.tmp").unlink()
    assert_same_end(out, reference)
