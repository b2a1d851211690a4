"""How a training run ends, and what it compiles and leaves behind."""

import json
import math
import re

import pytest
from cli_support import complaint, output, training, write_rows


def strict_rows(path):
    """Lines of JSON without NaN and Infinity, which are no JSON."""
    def refuse(text):
        raise AssertionError(f"{path}: {text} is no JSON")
    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, optim):
    out = tmp_path / "out"
    line = complaint(1, *training(out, learning_rate=1e30, max_steps=9, optim=optim, max_grad_norm=0,
                                  lr_scheduler_type="constant"))
    found = re.match(r"\[train\] expected a finite (loss|gradient) at step (\d), got ", line)
    assert found, line
    rows = strict_rows(out / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, int(found[2]) + 1))
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows[:-1])
    assert None in (rows[-1]["loss"], rows[-1]["grad_norm"])
    assert [path.name for path in out.iterdir()] == ["metrics.jsonl"]


def test_a_run_compiles_one_program(tmp_path):
    """Rows of several lengths, short last batches and two epochs."""
    lengths = [5, 9, 14, 20, 27]
    data = write_rows(tmp_path / "rows.jsonl", *({"input_ids": list(range(3, 3 + n))} for n in lengths))
    cache = tmp_path / "cache"
    output(*training(tmp_path / "out", data=data, max_steps=-1, num_train_epochs=2,
                     per_device_train_batch_size=2, gradient_accumulation_steps=2),
           env={"SOPHIA_CACHE_DIR": str(cache)})
    assert len(strict_rows(tmp_path / "out" / "metrics.jsonl")) == 4
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


def test_every_line_of_metrics_has_the_same_keys(tmp_path):
    output(*training(tmp_path / "out", max_steps=3))
    for row in strict_rows(tmp_path / "out" / "metrics.jsonl"):
        assert list(row) == ["step", "epoch", "loss", "grad_norm", "learning_rate",
                             "tokens_per_second"]
