"""The objective "isomorphism": hidden states that take the geometry of a teacher's."""

import json
import re
import shutil

import pytest
from cli_support import FIXTURES, GQA, ROWS, complaint, output, text_model, training
from safetensors.numpy import load_file, save_file

RATE = {"learning-rate": 1e-2, "lr-scheduler-type": "constant", "lora-r": 4, "per-device-train-batch-size": 4}
ALIGN = RATE | {"objective": "isomorphism"}


def steps(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher") / "adapter"
    output(*training(out, **RATE, **{"max-steps": 20}))
    return out


def train(out, **options):
    output(*training(out, **{**ALIGN, **options}))
    return steps(out)


def test_a_teacher_is_approached(teacher, tmp_path):
    rows = train(tmp_path / "out", teacher=teacher, **{"max-steps": 30})
    first, last = ({key: sum(row[key] for row in part) / len(part) for key in ("cka", "distance_loss")}
                   for part in (rows[:3], rows[-5:]))
    assert 1 - last["cka"] < (1 - first["cka"]) / 2
    assert last["distance_loss"] < first["distance_loss"] / 2
    for row in rows:
        assert row["loss"] == pytest.approx(1 - row["cka"] + row["distance_loss"], abs=1e-6)
        assert "language_loss" not in row


def test_who_starts_as_the_teacher_has_its_geometry(teacher, tmp_path):
    options = {key: value for key, value in ALIGN.items() if key != "lora-r"}
    command = training(tmp_path / "out", **options, teacher=teacher, **{"init-adapter": teacher})
    output(*command)
    first = steps(tmp_path / "out")[0]
    assert first["cka"] == pytest.approx(1, abs=1e-5)
    assert first["distance_loss"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("more", [{}, {"gradient-accumulation-steps": 2}, {"isomorphism-tokens": 8}])
def test_the_rows_loss_may_stand_beside_it(tmp_path, more):
    plain = {**RATE, **{key: value for key, value in more.items() if key != "isomorphism-tokens"}}
    output(*training(tmp_path / "plain", **plain))
    rows = train(tmp_path / "out", teacher="base", **{"language-weight": 0.5, "isomorphism-weight": 2}, **more)
    assert rows[0]["language_loss"] == pytest.approx(steps(tmp_path / "plain")[0]["loss"], rel=1e-5)
    # The base model is where the adapter begins.
    assert rows[0]["cka"] == pytest.approx(1, abs=1e-5)
    assert rows[1]["cka"] < 1 - 1e-6
    for row in rows:
        expected = 2 * (1 - row["cka"] + row["distance_loss"]) + 0.5 * row["language_loss"]
        assert row["loss"] == pytest.approx(expected, rel=1e-5)


def test_memory_policies_change_nothing(tmp_path):
    rows = {policy: train(tmp_path / str(i), teacher="random", policy=policy)
            for i, policy in enumerate(["products", "layers", "layers,every=2"])}
    for policy in ("layers", "layers,every=2"):
        for got, want in zip(rows[policy], rows["products"], strict=True):
            assert got["loss"] == pytest.approx(want["loss"], rel=1e-4)


def test_the_proof_holds():
    text = output("prove", "--model", GQA, "--data", ROWS, "--dtype", "f32", "--lora-r", 4, "--objective", "isomorphism",
                  "--learning-rate", 1e-2)
    assert "0 moved" in text and "the proof holds" in text
    found = re.search(r"^cka ([0-9.]+) -> ([0-9.]+)$", text, re.M)
    assert float(found[1]) < float(found[2])
    assert re.search(r"^distance_loss [0-9.]+ -> [0-9.]+$", text, re.M)


@pytest.mark.parametrize(("options", "code", "message"), [
    ({"objective": "isomorphsm"}, 2, "--objective: expected one of sft, isomorphism, got 'isomorphsm' (did you mean 'isomorphism'?)"),
    ({"objective": "isomorphism"}, 2, "--teacher"),
    ({"teacher": "base"}, 2, "expected --objective isomorphism beside --teacher, got none"),
    ({"objective": "isomorphism", "teacher": "base"}, 1, "expected language_weight above 0 beside the teacher base"),
    ({"objective": "isomorphism", "teacher": "random", "init-lora-weights": "pissa"}, 1,
     "expected an adapter that leaves the base weights for isomorphism, got PiSSA"),
    ({"objective": "isomorphism", "teacher": "randm"}, 1,
     "expected base, random, the folder of a PEFT adapter, or another model's file or folder, got 'randm' (did you mean 'random'?)"),
    ({"objective": "isomorphism", "teacher": GQA}, 1, "expected language_weight above 0 beside the teacher base"),
    ({"objective": "isomorphism", "teacher": "random", "isomorphism-tokens": 2}, 2, "expected an integer from 3 to 4096, got 2"),
])
def test_what_cannot_be_is_one_line(tmp_path, options, code, message):
    assert message in complaint(code, *training(tmp_path / "out", **options))


@pytest.mark.parametrize("student", [["--lora-r", 8, "--lora-target-modules", "q_proj,v_proj"], ["--use-dora"]])
def test_the_student_may_have_another_adapter(teacher, tmp_path, student):
    options = {key: value for key, value in ALIGN.items() if key != "lora-r"}
    output(*training(tmp_path / "out", **options, teacher=teacher, **{"max-steps": 20}), *student)
    rows = steps(tmp_path / "out")
    assert rows[-1]["loss"] < rows[0]["loss"]


def shallower(folder):
    """The tiny model without its last layer."""
    shutil.copytree(GQA, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in tensors.items() if "layers.1." not in name}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("kernels", ["reference", "interpret"])
def test_another_model_may_teach(tmp_path, kernels):
    """Of other weights and heads; `compare` finds what the run says, and the student nearer than the base."""
    out, other = tmp_path / "out", FIXTURES / "llama" / "mha"
    rows = train(out, teacher=other, kernels=kernels, **{"max-steps": 20})
    assert rows[-1]["cka"] > rows[0]["cka"] and rows[-1]["loss"] < rows[0]["loss"]
    common = ("--model", GQA, "--data", ROWS, "--dtype", "f32", "--json")
    before, after = (json.loads(output("compare", *pair, *common))["geometry"] for pair in ([other], [out, other]))
    assert sum(after["cka"]) > sum(before["cka"])


def test_a_teacher_of_another_depth(tmp_path):
    """Both layers of the student stand beside the only one; its second has most to change."""
    rows = train(tmp_path / "out", teacher=shallower(tmp_path / "model"), **{"max-steps": 20})
    assert rows[-1]["loss"] < rows[0]["loss"]
    common = ("--model", GQA, "--data", ROWS, "--dtype", "f32", "--json")
    found = json.loads(output("compare", tmp_path / "model", *common))["geometry"]
    assert found["cka"][0] == pytest.approx(1, abs=1e-5) and found["cka"][1] < 0.99


def test_a_teacher_of_fewer_positions(tmp_path):
    """Limits runs, plans and comparisons."""
    model = shallower(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16}))
    objective = {"objective": "isomorphism", "teacher": model}
    line = complaint(1, *training(tmp_path / "out", **objective))
    assert "expected rows of at most the teacher's 16 positions, got 2" in line
    plan = ("plan", "--model", GQA, "--no-confirm", "--objective", "isomorphism", "--teacher", model)
    assert "expected at most the teacher's 16 positions, got 64" in complaint(1, *plan, "--max-length", 64)
    assert json.loads(output(*plan, "--max-length", "auto", "--json"))["seq"] == 16
    output(*training(tmp_path / "out", **objective, **{"max-length": 16}))
    common = ("--model", GQA, "--data", ROWS, "--dtype", "f32", "--json")
    shorter = json.loads(output("compare", model, *common))
    assert shorter["tokens"] < json.loads(output("eval", *common))["tokens"]
    assert (shorter["b"]["adapter"], shorter["b"]["model"]) == (None, str(model))


@pytest.mark.parametrize("teacher", ["random", FIXTURES / "llama" / "mha"])
def test_tables_on_the_host_beside_a_teacher(tmp_path, teacher):
    got, want = (train(tmp_path / policy, teacher=teacher, policy=policy) for policy in (
        "layers,offload_tables,kv_heads=1,tile=8", "layers"))
    assert [row["loss"] for row in got] == pytest.approx([row["loss"] for row in want], rel=1e-4)


def test_a_teacher_reads_the_same_tokens(tmp_path):
    model = shallower(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "vocab_size": 120}))
    line = complaint(1, *training(tmp_path / "out", objective="isomorphism", teacher=model))
    assert line.endswith(f"[{model}] expected the vocabulary of {GQA}, 128 ids, got 120")
    student, other = text_model(tmp_path / "student"), text_model(tmp_path / "other")
    tokenizer = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(tokenizer.replace('"A":', '"Ä":'))
    line = complaint(1, *training(tmp_path / "out", model=student, objective="isomorphism", teacher=other))
    assert re.search(r"expected the vocabulary of .*, where id \d+ is 'A', got 'Ä'$", line)


def test_going_on_with_another_teacher_is_refused(teacher, tmp_path):
    own = shutil.copytree(teacher, tmp_path / "teacher")
    run = {**ALIGN, "teacher": own, "save-strategy": "steps", "save-steps": 1, "max-steps": 2}
    output(*training(tmp_path / "out", **run))
    moved = shutil.copytree(own, tmp_path / "moved")
    output(*training(tmp_path / "again", **{**run, "teacher": moved, "max-steps": 2},
                     **{"resume-from-checkpoint": tmp_path / "out" / "checkpoint-1"}))
    tensors = load_file(own / "adapter_model.safetensors")
    save_file({name: value * 2 for name, value in tensors.items()}, own / "adapter_model.safetensors")
    line = complaint(1, *training(tmp_path / "out", **run, **{"resume-from-checkpoint": tmp_path / "out" / "checkpoint-1"}))
    assert re.search(r"got another: teacher [0-9a-f]{12} \(saved: [0-9a-f]{12}\)$", line)
