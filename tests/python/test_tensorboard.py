"""Event files of `sophia train --report-to tensorboard`, as TensorBoard reads them."""

import json
import shutil
import time

import numpy as np
import pytest
from cli_support import complaint, output, training
from page_support import Page
from resume_support import TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.tensorflow_stub import errors

TAGS = {"loss", "grad_norm", "learning_rate", "epoch", "tokens_per_second", "data_wait_seconds",
        "step_seconds", "flops_per_second", "host_memory_bytes", "eta_seconds"}


def run(out, *flags, **options):
    return [*training(out, **{**TINY, "report-to": "tensorboard", **options}), *flags]


def rows_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def scalars(folder):
    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}


def assert_same_as_rows(out, folder):
    found = scalars(folder)
    assert set(found) == {f"train/{key}" for key in TAGS}
    rows = rows_of(out)
    for key in TAGS:
        events = found[f"train/{key}"]
        assert [event.step for event in events] == [row["step"] for row in rows], key
        assert [event.value for event in events] == [float(np.float32(row[key])) for row in rows], key


def test_tensorboard_reads_every_row(tmp_path):
    before = time.time()
    output(*run(tmp_path / "out", **{"max-steps": 5}))
    folder = tmp_path / "out" / "runs"
    assert_same_as_rows(tmp_path / "out", folder)
    [path] = folder.iterdir()
    events = list(EventFileLoader(str(path)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert all(before - 1 <= event.wall_time <= time.time() + 1 for event in events)


def test_every_byte_is_under_a_checksum(tmp_path):
    """The reader that found no fault above finds each of these."""
    output(*run(tmp_path / "out", **{"max-steps": 1, "logging-dir": tmp_path / "log"}))
    [path] = (tmp_path / "log").iterdir()
    whole = path.read_bytes()
    count = len(list(EventFileLoader(str(path)).Load()))
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1:])
        try:
            events = list(EventFileLoader(str(path)).Load())
        except errors.DataLossError:
            continue
        assert len(events) < count, place


def test_a_resumed_run_goes_on_in_a_new_file(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    output(*run(whole))
    shutil.copytree(whole, out)
    for step in (8, 12):
        shutil.rmtree(out / f"checkpoint-{step}")
    output(*run(out, "--resume"))
    assert len(list((out / "runs").iterdir())) == 2
    # Steps 5 to 12 were done twice; what the later file says counts.
    assert_same_as_rows(out, out / "runs")
    first = scalars(whole / "runs")["train/loss"]
    assert [event.value for event in scalars(out / "runs")["train/loss"]] == [event.value for event in first]


def test_a_run_that_is_overwritten_leaves_no_old_steps(tmp_path):
    output(*run(tmp_path / "out", **{"max-steps": 6}))
    output(*run(tmp_path / "out", "--overwrite-output-dir", **{"max-steps": 3}))
    assert_same_as_rows(tmp_path / "out", tmp_path / "out" / "runs")


def test_what_is_not_finite_is_told_too(tmp_path):
    options = {"learning-rate": "1e38", "optim": "sgd", "lr-scheduler-type": "constant",
               "max-grad-norm": 0, "save-strategy": "no", "max-steps": 10}
    complaint(1, *run(tmp_path / "out", **options))
    rows = rows_of(tmp_path / "out")
    losses = scalars(tmp_path / "out" / "runs")["train/loss"]
    assert [event.step for event in losses] == [row["step"] for row in rows]
    assert [bool(np.isfinite(event.value)) for event in losses] == [row["loss"] is not None for row in rows]
    assert not np.isfinite(losses[-1].value)


@pytest.mark.parametrize("flags, message", [
    (["--report-to", "wandb"], "expected one of none, tensorboard, got 'wandb'"),
    (["--logging-dir", "log"], "expected --report-to tensorboard beside --logging-dir"),
])
def test_wrong_usage(tmp_path, flags, message):
    assert message in complaint(2, *training(tmp_path / "out"), *flags)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    line = complaint(1, *run(tmp_path / "out", **{"logging-dir": tmp_path / "file" / "log"}))
    assert "file" in line


def test_a_run_that_cannot_log_overwrites_nothing(tmp_path):
    out = tmp_path / "out"
    output(*run(out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("")
    complaint(1, *run(out, "--overwrite-output-dir", **{"logging-dir": tmp_path / "file" / "log"}))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert (out / "checkpoint-12").is_dir()


def test_evaluations_have_tags_of_their_own(tmp_path):
    output(*run(tmp_path / "out", **{"eval-split": 0.3, "eval-steps": 4, "per-device-eval-batch-size": 2}))
    rows = [row for row in rows_of(tmp_path / "out") if "eval_loss" in row]
    events = scalars(tmp_path / "out" / "runs")["eval/loss"]
    assert [event.step for event in events] == [row["step"] for row in rows] == [4, 8, 12]
    assert [event.value for event in events] == [float(np.float32(row["eval_loss"])) for row in rows]
    output("report", tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert [len(points) for _, points in page.plots["Loss"]] == [12, 3]
