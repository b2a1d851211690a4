"""Evaluation of a training run: schedule, losses, the best checkpoint, early stopping, resuming all of it."""

import json
import shutil

import pytest
from cli_support import FIXTURES, GQA, ROWS, complaint, output, training, write_rows
from resume_support import TINY, assert_same_end, checkpoints, rows

LOSSES = {one["adapter"]: one for one in json.loads((FIXTURES / "evaluation/losses.json").read_text())}
# The loss on the held-out rows falls, then rises.
OPTIONS = {**TINY, "learning-rate": 0.05, "eval-split": 0.3, "eval-steps": 2, "save-steps": 3}


def run(out, *flags, **options):
    given = {**OPTIONS, **options}
    return [*training(out, **{key: value for key, value in given.items() if value is not None}), *flags]


def evaluations(out):
    return [row for row in rows(out) if "eval_loss" in row]


def state_of(folder):
    return json.loads((folder / "trainer_state.json").read_text())


def adapter(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "out"
    return out, output(*run(out))


def test_rows_of_metrics_and_lines(reference):
    out, text = reference
    found = evaluations(out)
    assert [row["step"] for row in found] == [2, 4, 6, 8, 10, 12]
    assert "data: 14 examples\nevaluation: 6 examples\n" in text
    for row in found:
        assert set(row) == {"step", "epoch", "eval_loss", "eval_perplexity"}
        line = f"evaluation at step {row['step']}: loss {row['eval_loss']:.4f}, perplexity "
        assert line + f"{row['eval_perplexity']:.4g}" in text
    best = min(found, key=lambda row: row["eval_loss"])
    assert best["step"] < 12  # or the tests of the best show nothing
    path = out / f"checkpoint-{best['step']}"
    assert f"best: eval_loss {best['eval_loss']:.4f} at step {best['step']}, {path}\n" in text
    state = state_of(out / "checkpoint-12")
    assert (state["best_global_step"], state["best_metric"]) == (best["step"], best["eval_loss"])
    assert state["best_model_checkpoint"] == str(path)
    assert state["eval_steps"] == 2
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert state["log_history"] == [json.loads(line) for line in lines]
    assert {"eval_runtime", "eval_samples_per_second"} < set(json.loads(lines[2]))


def test_the_run_is_the_same_without_evaluation(tmp_path, reference):
    out, _ = reference
    output(*run(tmp_path / "out", **{"eval-strategy": "no"}))
    assert adapter(out) == adapter(tmp_path / "out")
    assert [row for row in rows(out) if "loss" in row] == rows(tmp_path / "out")
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        one, other = (folder / "checkpoint-12" / name for folder in (out, tmp_path / "out"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["sft/adapters/qv", "sft/adapters/all_linear"])
@pytest.mark.parametrize("flags", [[], ["--no-packing", "--per-device-eval-batch-size", 3]])
def test_the_loss_is_torch_s(tmp_path, name, flags):
    output(*training(tmp_path / "out", **{"init-adapter": FIXTURES / name, "learning-rate": 0, "eval-steps": 1,
                                          "eval-data": ROWS}), *flags)
    for row in evaluations(tmp_path / "out"):
        assert row["eval_loss"] == pytest.approx(LOSSES[name]["eval_loss"], rel=1e-6)


def test_the_split_follows_the_seed(tmp_path, reference):
    first = {evaluations(reference[0])[0]["eval_loss"]}
    for seed in (42, 7):
        output(*run(tmp_path / "out", seed=seed, **{"max-steps": 2, "save-strategy": "no"}))
        first.add(evaluations(tmp_path / "out")[0]["eval_loss"])
    assert len(first) == 2


def test_a_folder_s_valid_rows_and_epochs(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(ROWS, data / "train.jsonl")
    shutil.copy(FIXTURES / "sft/rows_5.jsonl", data / "valid.jsonl")
    common = {"data": data, "eval-split": None, "eval-steps": None, "max-steps": -1,
              "num-train-epochs": 2.5, "save-strategy": "no"}
    text = output(*run(tmp_path / "out", "--no-packing", **{**common, "eval-strategy": "epoch"}))
    assert "evaluation: 5 examples" in text and "at step 10\n" not in text
    assert [(row["step"], row["epoch"]) for row in evaluations(tmp_path / "out")] == [(10, 1), (20, 2), (25, 2.5)]
    assert not checkpoints(tmp_path / "out")
    output(*run(tmp_path / "end", "--no-packing", **common))
    assert [row["step"] for row in evaluations(tmp_path / "end")] == [25]
    output(*run(tmp_path / "none", "--no-packing", **{**common, "eval-strategy": "no"}))
    assert not evaluations(tmp_path / "none")


def test_the_best_stays_and_is_loaded_at_the_end(tmp_path, reference):
    out = tmp_path / "out"
    best = state_of(reference[0] / "checkpoint-12")["best_global_step"]
    output(*run(out, "--load-best-model-at-end", **{"save-total-limit": 1}))
    assert checkpoints(out) == sorted({f"checkpoint-{best}", "checkpoint-12"}, key=lambda name: (len(name), name))
    assert adapter(out) == adapter(out / f"checkpoint-{best}") != adapter(out / "checkpoint-12")
    assert adapter(out / "checkpoint-12") == adapter(reference[0])
    # Without other checkpoints, too.
    output(*run(tmp_path / "alone", "--load-best-model-at-end", **{"save-strategy": "no"}))
    assert adapter(tmp_path / "alone") == adapter(out)


def test_perplexity_and_greater_choose(tmp_path, reference):
    found = evaluations(reference[0])
    options = {"save-strategy": "no", "metric-for-best-model": "perplexity"}
    worst = max(found, key=lambda row: row["eval_loss"])
    best = min(found, key=lambda row: row["eval_loss"])
    for flags, row in [([], best), (["--greater-is-better"], worst)]:
        text = output(*run(tmp_path / "out", *flags, **options))
        assert f"best: eval_perplexity {row['eval_perplexity']:.4f} at step {row['step']}\n" in text


STOPPING = {"early-stopping-patience": 2, "max-steps": 40, "eval-steps": 1}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped") / "out"
    return out, output(*run(out, "--load-best-model-at-end", **STOPPING))


def test_stops_early(stopped):
    out, text = stopped
    losses = [row["eval_loss"] for row in evaluations(out)]
    last = len(losses)
    assert 3 <= last < 40 and len(rows(out)) == 2 * last
    assert min(losses) == losses[-3] and f"stopped early after step {last} of 40: 2 evaluations" in text
    state = state_of(out / f"checkpoint-{last}")
    assert state["best_global_step"] == last - 2
    assert state["stateful_callbacks"] == {"EarlyStoppingCallback": {
        "args": {"early_stopping_patience": 2, "early_stopping_threshold": 0.0},
        "attributes": {"early_stopping_patience_counter": 2}}}
    assert adapter(out) == adapter(out / f"checkpoint-{last - 2}")


def test_a_threshold_stops_sooner(tmp_path, stopped):
    output(*run(tmp_path / "out", **{**STOPPING, "early-stopping-threshold": 100}))
    assert len(evaluations(tmp_path / "out")) == 3 <= len(evaluations(stopped[0]))


@pytest.mark.parametrize("options", [OPTIONS, {**OPTIONS, "eval-strategy": "epoch", "eval-steps": None},
                                     {**OPTIONS, **STOPPING}])
def test_resumes_bit_for_bit(tmp_path, options):
    whole = tmp_path / "whole"
    flags = ["--load-best-model-at-end"]
    output(*run(whole, *flags, **options))
    steps = [int(name.split("-")[1]) for name in checkpoints(whole)]
    assert len(steps) > 1
    for step in steps:
        out = shutil.copytree(whole, tmp_path / f"moved-{step}")
        for name in checkpoints(out):
            if int(name.split("-")[1]) > step:
                shutil.rmtree(out / name)
        (out / "adapter_model.safetensors").unlink()
        output(*run(out, "--resume", *flags, **options))
        assert checkpoints(out) == checkpoints(whole)
        assert_same_end(out, whole)
        states = [state_of(folder / checkpoints(whole)[-1]) for folder in (out, whole)]
        for state, folder in zip(states, (out, whole)):
            best = f"checkpoint-{state['best_global_step']}"
            written_in = folder if step < steps[-1] else whole
            assert state["best_model_checkpoint"] == str(written_in / best)
        keys = ("best_global_step", "best_metric", "stateful_callbacks", "epoch", "global_step")
        assert len({json.dumps([state[key] for key in keys]) for state in states}) == 1


def test_the_checkpoint_s_own_options_resume(tmp_path, reference):
    out = shutil.copytree(reference[0], tmp_path / "out")
    config = out / "checkpoint-12" / "training_args.json"
    assert "12 of 12 steps are done" in output("train", "--config", config, "--out", out, "--resume")


@pytest.mark.parametrize("options, reason", [
    ({"eval-steps": 3}, "eval_steps 3 (saved: 2)"),
    ({"eval-split": 0.4}, "eval_split 0.4 (saved: 0.3)"),
    ({"eval-strategy": "no"}, 'eval_strategy nothing (saved: "steps")'),
    ({"early-stopping-patience": 1}, "early_stopping_patience 1 (saved: 0)"),
    ({"eval-split": None, "eval-data": ROWS}, "eval_data "),
])
def test_another_evaluation_is_another_run(tmp_path, reference, options, reason):
    out = shutil.copytree(reference[0], tmp_path / "out")
    assert reason in complaint(1, *run(out, "--resume", **options))


# ---- bad input

def refused(tmp_path, exit_code=1, *flags, **options):
    line = complaint(exit_code, *run(tmp_path / "refused", *flags, **{"eval-split": None, **options}))
    assert not (tmp_path / "refused").exists()
    return line


def test_rows_that_cannot_be_evaluated(tmp_path):
    path = tmp_path / "valid.jsonl"
    message = "expected rows to evaluate on (eval_data, eval_split, or a folder with valid.jsonl), got none"
    assert refused(tmp_path) == f"[eval_data] {message}"
    assert "valid.jsonl] expected a file of rows that can be read" in refused(tmp_path, **{"eval-data": path})
    for text, message in [("", "expected at least one row, got none"),
                          ('{"input_ids": [1, 2]}\n{"a": 1}', "valid.jsonl:2] expected a row with the keys"),
                          ('{"input_ids": [1, 2], "labels": [-100, -100]}', "expected a row with a trained token")]:
        path.write_text(text)
        assert message in refused(tmp_path, **{"eval-data": path})
    (tmp_path / "folder").mkdir()
    assert "expected a folder with valid.jsonl" in refused(tmp_path, **{"eval-data": tmp_path / "folder"})
    write_rows(path, {"input_ids": [5] * 200})
    assert "the model's 128 positions, got 200" in refused(tmp_path, **{"eval-data": path})


def test_splits_that_leave_nothing(tmp_path):
    line = refused(tmp_path, **{"eval-split": 0.99})
    assert line == "[eval_split] expected a share that leaves rows to train on, got 20 of 20 rows held out"
    one = write_rows(tmp_path / "one.jsonl", {"input_ids": [1, 2]})
    assert "got 1 of 1 rows" in refused(tmp_path, **{"eval-split": 0.1, "data": one})


@pytest.mark.parametrize("options, message", [
    ({"eval-split": 1}, "--eval-split: expected a number of at least 0 and below 1, got 1"),
    ({"eval-steps": 0}, "--eval-steps: expected an integer from 1"),
    ({"eval-strategy": "step"}, "(did you mean 'steps'?)"),
    ({"eval-split": 0.1, "eval-data": "x"}, "expected --eval-data or --eval-split, got both"),
    ({"metric-for-best-model": "accuracy"}, "expected one of loss, eval_loss, perplexity, eval_perplexity"),
    ({"eval-strategy": "no", "early-stopping-patience": 1},
     "expected --eval-strategy steps or epoch beside --early-stopping-patience, got no"),
    ({"eval-strategy": "no", "load-best-model-at-end": "true"}, "beside --load-best-model-at-end, got no"),
])
def test_wrong_usage(tmp_path, options, message):
    flags = [f"--{key}={options.pop(key)}" for key in list(options) if key.startswith("load")]
    assert message in refused(tmp_path, 2, *flags, **options)


def test_other_tools_names(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {GQA}\ndata: {ROWS}\nval_set_size: 0.3\nevaluation_strategy: steps\neval_steps: 1\n"
                      "max_steps: 2\nsave_strategy: 'no'\ngreater_is_better: false\ndtype: float32\n")
    assert "evaluation at step 1: loss" in output("train", "--config", config, "--out", tmp_path / "out")


def test_an_evaluation_that_is_not_finite_stops_the_run(tmp_path):
    out = tmp_path / "out"
    line = complaint(1, *run(out, "--no-shuffle", **{"learning-rate": 1e38, "optim": "sgd", "max-grad-norm": 0,
                                                     "eval-steps": 1, "save-steps": 1}))
    assert line.startswith("[train] expected a finite evaluation loss at step 1, got ")
    assert rows(out)[-1]["eval_loss"] is None and not checkpoints(out)
