"""`sophia report`: one page about a run, whatever state its folder is in."""

import json
import random
import re
import shutil

import numpy as np
import pytest
from cli_support import complaint, output, training, write_rows
from page_support import Page, assert_self_contained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    output(*training(out, max_steps=6, learning_rate=0.01))
    return out


def report(folder):
    assert output("report", folder) == f"report: {folder / 'report.html'}\n"
    return Page((folder / "report.html").read_text())


def rows_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def assert_linear(points, rows, key):
    """The polyline is the rows, up to the scales of its axes."""
    x, y = np.array(points).T
    assert len(points) == len(rows)
    for drawn, wanted in [(x, [row["step"] for row in rows]), (-y, [row[key] for row in rows])]:
        slope, shift = np.polyfit(wanted, drawn, 1)
        assert slope > 0
        np.testing.assert_allclose(slope * np.array(wanted) + shift, drawn, atol=0.11)  # a digit is drawn


def test_a_page_of_a_whole_run(tmp_path, run):
    page = report(shutil.copytree(run, tmp_path / "out"))
    rows = rows_of(run)
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page.source)
    assert_self_contained(page.source, policy)
    assert "script" not in page.tags
    assert page.ids["state"] == "finished"
    assert page.ids["now-step"] == "6 of 6"
    assert page.ids["now-loss"] == f"{rows[-1]['loss']:.4f}"
    for title, key in [("Loss", "loss"), ("Learning rate", "learning_rate"), ("Gradient norm", "grad_norm"),
                       ("Tokens a second", "tokens_per_second"), ("FLOP/s", "flops_per_second")]:
        [(_, points)] = page.plots[title]
        assert_linear(points, rows, key)
    text = "".join(page.texts)
    for part in ["lora_r", "per_device_train_batch_size", "frozen_parameters", "model.path", "peak_bytes", "products"]:
        assert part in text


def test_base_weights_are_proved_as_by_prove(tmp_path, run):
    base = json.loads((run / "run.json").read_text())["base_weights"]
    model = training(tmp_path / "out")[1:5]
    text = output("prove", *model, "--dtype", "f32")
    assert re.search(r"W before: (\w+)", text)[1] == base["sha256_before"] == base["sha256_after"]
    assert (base["tensors"], base["moved"]) == (int(re.search(r"(\d+) base weights", text)[1]), [])
    folder = shutil.copytree(run, tmp_path / "copy")
    assert report(folder).ids["proof"].startswith(f"None of {base['tensors']} base weights moved")
    state = json.loads((run / "run.json").read_text())
    for change, proof in [
        ({"sha256_after": "0" * 64, "moved": ["q_proj.weight"]}, 'Base weights moved: ["q_proj.weight"]'),
        ({"sha256_after": None}, f"{base['tensors']} base weights; not compared."),
    ]:
        (folder / "run.json").write_text(json.dumps({**state, "base_weights": {**base, **change}}))
        assert report(folder).ids["proof"] == proof
    for name, proof in [("running", "compared when the run ends"), ("stopped", "not compared: the run was stopped"),
                        ("failed", "not compared: the run failed")]:
        (folder / "run.json").write_text(json.dumps(
            {**state, "state": name, "base_weights": {**base, "sha256_after": None}}))
        assert report(folder).ids["proof"] == f"{base['tensors']} base weights; {proof}."
    output(*training(tmp_path / "fast"), "--no-verify-base")
    assert report(tmp_path / "fast").ids["proof"] == "Not recorded."


def test_evaluation_samples_and_plan(tmp_path, run):
    folder = shutil.copytree(run, tmp_path / "out")
    with (folder / "metrics.jsonl").open("a") as file:
        for step, loss in [(2, 3.0), (4, 2.5), (6, 2.25)]:
            file.write(json.dumps({"step": step, "eval_loss": loss}) + "\n")
    write_rows(folder / "samples.jsonl", {"prompt": "Who?", "before": "old answer", "after": "new answer"})
    (folder / "plan.json").write_text(json.dumps({"target": "v5e:1x1", "bytes": {"weights": 123456789}}))
    page = report(folder)
    (_, loss), (colour, evaluated) = page.plots["Loss"]
    assert (len(loss), len(evaluated), colour) == (6, 3, "line1")
    text = "".join(page.texts)
    for part in ["eval_loss", "Who?", "old answer", "new answer", "v5e:1x1", "bytes.weights", "123 MB"]:
        assert part in text


def test_a_run_that_failed_says_why(tmp_path):
    out = tmp_path / "out"
    line = complaint(1, *training(out, learning_rate="1e38", optim="sgd", max_steps=10, max_grad_norm=0))
    page = report(out)
    assert page.ids["state"] == "failed"
    assert line in "".join(page.texts)


def test_runs_that_are_not_whole(tmp_path, run):
    empty = tmp_path / "empty"
    empty.mkdir()
    page = report(empty)
    assert page.ids["state"] == "unknown"
    assert all(lines == [] for lines in page.plots.values())
    assert "nothing yet" in page.source
    cut = shutil.copytree(run, tmp_path / "cut")
    state = json.loads((cut / "run.json").read_text())
    (cut / "run.json").write_text(json.dumps({**state, "state": "running"}))
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "loss": null}\n[]\n{"step": 8, "lo')
    page = report(cut)
    assert page.ids["state"] == "not finished"
    assert (page.ids["now-step"], page.ids["now-loss"]) == ("7 of 6", "–")
    assert len(page.plots["Loss"][0][1]) == 6
    text = "".join(page.texts)
    assert "1 lines are no objects with a step" in text
    assert "the last line is not complete" in text
    (cut / "run.json").write_text('{"state": ')
    (cut / "training_args.json").write_text("[1]")
    text = "".join(report(cut).texts)
    assert "[run.json" in text
    assert "[training_args.json] expected an object, got array" in text


def test_all_text_is_escaped(tmp_path, run):
    """Page refuses elements and attributes that the program does not write."""
    hostile = "</script></style></pre><img src=x onerror=alert(1)>\"'&"
    folder = tmp_path / "<b onclick=x>&amp;'\""
    shutil.copytree(run, folder)
    (folder / "run.json").write_text(json.dumps(
        {"state": hostile, "reason": hostile, hostile: hostile,
         "base_weights": {"sha256_before": hostile, "sha256_after": "x", "moved": [hostile]}}))
    for name in ("training_args.json", "plan.json"):
        (folder / name).write_text(json.dumps({hostile: {hostile: [hostile]}}))
    write_rows(folder / "samples.jsonl", {key: hostile for key in ("prompt", "expected", "before", "after")})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, hostile: 1, "loss": hostile}) + "\n")
    page = report(folder)
    text = "".join(page.texts)
    assert text.count(hostile) >= 10
    assert folder.name in text


def test_damaged_files_give_a_page(tmp_path, run):
    folder = shutil.copytree(run, tmp_path / "out")
    write_rows(folder / "samples.jsonl", {"prompt": "a", "before": "b", "after": "c"})
    (folder / "plan.json").write_text('{"bytes": {"weights": 1}}')
    names = ["metrics.jsonl", "run.json", "training_args.json", "plan.json", "samples.jsonl"]
    whole = {name: (folder / name).read_bytes() for name in names}
    chance = random.Random(7)
    for _ in range(100):
        for name in names:
            damaged = bytearray(whole[name])
            for _ in range(chance.randrange(4)):
                place = chance.randrange(len(damaged))
                damaged[place : place + chance.randrange(3)] = chance.choice(
                    [b"\0", b"\xff", b"[" * 50, b'"', b"1e308", b"-", b"\n", b"null", b"<"])
            (folder / name).write_bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
        output("report", folder)
        Page((folder / "report.html").read_bytes().decode(errors="replace"))


def test_another_place_and_bad_places(tmp_path, run):
    out = tmp_path / "page.html"
    assert output("report", run, "--out", out) == f"report: {out}\n"
    Page(out.read_text())
    assert complaint(1, "report", tmp_path / "none") == (
        f"[{tmp_path / 'none'}] expected the output folder of a run, got nothing there")
    assert "got a file" in complaint(1, "report", out)
    assert "expected RUN, got nothing" in complaint(2, "report")
