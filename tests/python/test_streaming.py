"""Rows that are streamed and mixed: memory, order, resuming, and what is refused."""

import json

import pytest
from cli_support import ROWS, complaint, output, peak_of, training, write_rows
from resume_support import TINY, assert_same_end, checkpoints, rows


def run(out, *flags, **options):
    return [*training(out, **{**TINY, "max-length": 32, **options}), *flags]


def peak_mb(arguments):
    """Of a run that finds its program compiled: compiling takes more memory than these runs."""
    output(*arguments)
    return peak_of(*arguments)[0] / 2**20


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """160000 rows of 120 tokens are 154 MB of ids and labels."""
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    line = json.dumps({"input_ids": [7] * 120}) + "\n"
    few.write_text(line * 100)
    many.write_text(line * 160_000)
    options = {"max-steps": 2, "save-strategy": "no", "max-length": 128, "batch-size": 1}
    small, streamed, kept = (
        peak_mb(run(tmp_path / name, *flags, data=data, **options))
        for name, data, flags in [("a", few, ["--streaming"]), ("b", many, ["--streaming"]),
                                  ("c", many, [])])
    assert kept - small > 120
    assert streamed - small < 40


def test_a_stream_resumes_to_the_same_bytes(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    flags = ["--streaming", "--data", ROWS]
    output(*run(whole, *flags))
    output(*run(parts, *flags, **{"resume-from-checkpoint": whole / "checkpoint-4"}))
    assert checkpoints(parts) == ["checkpoint-8", "checkpoint-12"]
    assert_same_end(parts, whole)


def test_streamed_rows_are_named_when_they_change(tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", *[{"input_ids": [1, 2, 3]}] * 9)
    out = tmp_path / "out"
    output(*run(out, "--streaming", data=data))
    write_rows(data, *[{"input_ids": [1, 2, 4]}] * 9)
    assert "data " in complaint(1, *run(out, "--streaming", "--resume", data=data))


def test_weights_mix_files(tmp_path):
    """A file that is dealt out twice an epoch is as the file with each row twice."""
    one = [{"input_ids": list(range(n, n + 5))} for n in (3, 20)]
    two = [{"input_ids": list(range(n, n + 5))} for n in (40, 60, 80)]
    first, second = (write_rows(tmp_path / f"{i}.jsonl", *r) for i, r in enumerate((one, two)))
    doubled = write_rows(tmp_path / "doubled.jsonl", *one, *one, *two)
    flags = {"max-steps": 4, "save-strategy": "no", "lora-dropout": 0}
    output(*run(tmp_path / "a", "--no-shuffle", "--data", second, "--data-weights", "2,1", data=first, **flags))
    output(*run(tmp_path / "b", "--no-shuffle", data=doubled, **flags))
    assert [row["loss"] for row in rows(tmp_path / "a")] == [row["loss"] for row in rows(tmp_path / "b")]


@pytest.mark.parametrize("code, flags, reason", [
    (1, ["--streaming", "--max-steps", -1], "[streaming] expected max_steps beside it"),
    (1, ["--data-weights", "1,2"], "[data_weights] expected one for each of the data (1), got 2"),
    (2, ["--data-weights", "1,x"], "--data-weights: expected numbers above 0, got \"1,x\""),
    (2, ["--data-weights", "0"], "--data-weights: expected numbers above 0, got [0.0]"),
])
def test_wrong_usage(tmp_path, code, flags, reason):
    assert reason in complaint(code, *training(tmp_path / "out"), *flags)
