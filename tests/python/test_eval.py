"""`sophia eval` and `sophia compare`: losses against torch, exact match, answers side by side, bad input."""

import json
import math
import re
import shutil

import pytest
from cli_support import FIXTURES, GQA, ROWS, TEMPLATE, complaint, output, text_model, training, write_rows

LOSSES = {one["adapter"]: one for one in json.loads((FIXTURES / "evaluation/losses.json").read_text())}
QV, ALL = (FIXTURES / "sft/adapters" / name for name in ("qv", "all_linear"))
BASE, OF_QV, OF_ALL = (LOSSES[name] for name in (None, "sft/adapters/qv", "sft/adapters/all_linear"))
TINY = ["--model", GQA, "--data", ROWS, "--dtype", "f32"]


def expect_losses(found, expected):
    assert found["loss"] == pytest.approx(expected["eval_loss"], rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(expected["eval_loss"]), rel=1e-5)


@pytest.mark.parametrize("flags", [[], ["--no-packing", "--batch-size", 3]])
def test_losses_are_torch_s(flags):
    for adapter, expected in [([], BASE), (["--adapter", QV], OF_QV)]:
        found = json.loads(output("eval", *TINY, *flags, *adapter, "--json"))
        expect_losses(found, expected)
        assert found["adapter"] == (str(adapter[1]) if adapter else None)
        assert (found["rows"], found["data"]) == (20, [str(ROWS)])
        assert found["tokens"] == sum(row["tokens"] for row in expected["rows"])
        assert "exact_match" not in found


def test_text_says_the_same():
    text = output("eval", *TINY, "--adapter", QV)
    assert text == (f"data: 20 examples, {sum(row['tokens'] for row in OF_QV['rows'])} answer tokens\n"
                    f"loss        {OF_QV['eval_loss']:.4f}\n"
                    f"perplexity  {math.exp(OF_QV['eval_loss']):.4g}\n")


def expect_comparison(found, names, first, second):
    for name, expected in zip(names, (first, second)):
        expect_losses(found[name], expected)
    sums = [(a["sum"], b["sum"]) for a, b in zip(first["rows"], second["rows"])]
    assert found["wins"] == {names[0]: sum(a < b for a, b in sums), names[1]: sum(b < a for a, b in sums),
                             "equal": 0}
    for number, (row, *expected) in enumerate(zip(found["row_losses"], first["rows"], second["rows"]), 1):
        assert row["row"] == f"{ROWS}:{number}" and row["tokens"] == expected[0]["tokens"]
        for name, one in zip(names, expected):
            assert row[name] == pytest.approx(one["sum"] / one["tokens"], rel=2e-6)


def test_compares_two_adapters():
    found = json.loads(output("compare", QV, ALL, *TINY, "--json", "--samples", 2))
    expect_comparison(found, "ab", OF_QV, OF_ALL)
    assert [found[name]["adapter"] for name in "ab"] == [str(QV), str(ALL)]

    def difference(number):
        a, b = OF_QV["rows"][number], OF_ALL["rows"][number]
        return -abs(a["sum"] - b["sum"]) / a["tokens"]

    most = sorted(range(20), key=difference)[:2]
    assert [sample["row"] for sample in found["samples"]] == [f"{ROWS}:{number + 1}" for number in most]


@pytest.mark.parametrize("pair", json.loads((FIXTURES / "evaluation" / "geometry.json").read_text()))
def test_compares_hidden_states(pair):
    """Of adapters, of the base and an adapter, and of two models."""
    paths = [FIXTURES / path for path in (pair["first"], pair["second"]) if path]
    rows = ("--model", FIXTURES / pair["model"], "--data", FIXTURES / "sft" / "rows_5.jsonl", "--dtype", "f32")
    found = json.loads(output("compare", *paths, *rows, "--json"))["geometry"]
    assert found["tokens"] == pair["tokens"]
    assert found["cka"] == pytest.approx(pair["cka"], abs=1e-4)
    assert found["distance_loss"] == pytest.approx(pair["distance_loss"], rel=1e-3)
    text = output("compare", *paths, *rows, "--samples", 0)
    mean = sum(pair["cka"]) / len(pair["cka"])
    assert re.search(rf"^hidden states: cka {mean:.4f} \({min(pair['cka']):.4f} after layer \d of 2\), distance loss "
                     rf"[0-9.]+, at {pair['tokens']} tokens$", text, re.M), text


def test_one_token_has_no_geometry(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]})
    found = ("compare", QV, "--model", GQA, "--data", rows, "--dtype", "f32")
    assert "geometry" not in json.loads(output(*found, "--json"))
    assert "hidden states" not in output(*found)


def test_eval_takes_no_other_model():
    assert "expected a readable file" in complaint(1, "eval", *TINY, "--adapter", FIXTURES / "llama" / "mha")


def test_one_adapter_is_compared_with_the_base():
    found = json.loads(output("compare", ALL, *TINY, "--json"))
    expect_comparison(found, "ab", BASE, OF_ALL)
    assert found["a"]["adapter"] is None
    assert json.loads(output("compare", "base", ALL, *TINY, "--json")) == found
    line = complaint(2, "compare", "base", *TINY)
    assert line == "expected an adapter or a model to compare with the base model, got none"
    text = output("compare", ALL, *TINY, "--samples", 1)
    assert re.search(rf"^ +base +{re.escape(str(ALL))}$", text, re.MULTILINE)
    assert re.search(rf"^lower loss +{found['wins']['a']} rows +{found['wins']['b']} rows$", text, re.MULTILINE)
    assert len(re.findall(r"^== .*: loss \d+\.\d{4} -> \d+\.\d{4}$", text, re.MULTILINE)) == 1


def test_before_and_after_without_questions():
    found = json.loads(output("eval", *TINY, "--adapter", QV, "--before-after", "--json"))
    expect_comparison(found, ("before", "after"), BASE, OF_QV)
    assert found["samples"] == []


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return text_model(tmp_path_factory.mktemp("model") / "chatty")


def chat(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, chatty):
    """An adapter that has learnt two of three answers by heart, and the rows of all three."""
    folder = tmp_path_factory.mktemp("learnt")
    rows = [chat("cat", "meow"), chat("dog", "woof")]
    train = write_rows(folder / "train.jsonl", *rows)
    output(*training(folder / "out", model=chatty, data=train, **{"max-steps": 60, "learning-rate": 0.02}))
    return folder / "out", write_rows(folder / "test.jsonl", *rows, chat("cow", "zzzz"))


def test_exact_match_before_and_after(chatty, learnt):
    adapter, data = learnt
    common = ["--model", chatty, "--data", data, "--dtype", "f32", "--max-new-tokens", 8, "--exact-match"]
    found = json.loads(output("eval", *common, "--adapter", adapter, "--before-after", "--json", "--samples", 2))
    assert found["before"]["exact_match"]["matches"] == 0
    assert found["after"]["exact_match"] == {"matches": 2, "rows": 3, "share": 2 / 3}
    assert found["matches"] == {"both": 0, "before": 0, "after": 2, "neither": 1}
    assert [sample["after"]["answer"].strip() for sample in found["samples"]] == ["meow", "woof"]
    assert found["samples"][0]["prompt"] == [{"role": "user", "content": "cat"}]
    alone = json.loads(output("eval", *common, "--adapter", adapter, "--json"))
    assert {key: alone[key] for key in found["after"]} == found["after"]
    text = output("compare", adapter, *common, "--samples", 3)
    assert re.search(r"^exact match +0 of 3 \(0\.0 %\) +2 of 3 \(66\.7 %\)$", text, re.MULTILINE)
    assert re.search(r"^match alone +0 rows +2 rows +both 0, neither 1$", text, re.MULTILINE)
    assert "prompt    cat\nexpected  meow\n" in text and re.search(r"^b +woof  ✓$", text, re.MULTILINE)
    # generate counts the same.
    counted = output("generate", *common, "--adapter", adapter)
    assert counted == "exact match: 2 of 3 (66.7 %)\n"


def test_before_after_answers_some(chatty, learnt, tmp_path):
    adapter, data = learnt
    common = ["eval", "--model", chatty, "--data", data, "--dtype", "f32", "--max-new-tokens", 8, "--adapter", adapter,
              "--before-after"]
    text = output(*common, "--samples", 1)
    assert text.count("\n== ") == 1 and "after     meow  ✓\n" in text and "exact match" not in text
    assert output(*common, "--samples", 0).count("==") == 0
    kept = shutil.copytree(adapter, tmp_path / "run")
    output(*common[:-3], "--adapter", kept, "--before-after", "--samples", 1, "--save-samples")
    [line] = (kept / "samples.jsonl").read_text().splitlines()
    sample = json.loads(line)
    assert (sample["after"], sample["expected"]) == ("meow", "meow") and {"prompt", "before"} < sample.keys()
    assert "meow" in output("report", kept, "--out", tmp_path / "page.html") + (tmp_path / "page.html").read_text()
    assert complaint(2, *common[:-1], "--save-samples") == "expected --before-after beside --save-samples, got none"


def test_rows_that_cannot_be_answered_are_left_out_of_the_samples(tmp_path, chatty, learnt):
    # The template says what is learnt, also without a turn before it.
    model = shutil.copytree(chatty, tmp_path / "model")
    answer = "{% generation %}{{ message.content }}<e>{% endgeneration %}"
    (model / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": "<e>", "chat_template": TEMPLATE.replace("{{ message.content }}<e>", answer)}))
    alone = {"messages": [{"role": "assistant", "content": "hello"}]}
    two = {"prompt": [{"role": "user", "content": "cow"}],
           "completion": [{"role": "assistant", "content": answer} for answer in ("moo", "mooo")]}
    data = write_rows(tmp_path / "rows.jsonl", alone, two, chat("cat", "meow"))
    common = ["eval", "--model", model, "--data", data, "--dtype", "f32", "--max-new-tokens", 8, "--adapter",
              learnt[0], "--before-after"]
    found = json.loads(output(*common, "--samples", 2, "--json"))
    assert found["rows"] == 3
    assert [sample["row"] for sample in found["samples"]] == [f"{data}:3"]
    assert found["samples"][0]["after"]["answer"].strip() == "meow"
    assert complaint(1, *common, "--exact-match") == f"[{data}:1] expected a turn before the assistant's, got none"


def test_a_folder_s_valid_rows(tmp_path):
    (tmp_path / "valid.jsonl").write_text(ROWS.read_text())
    found = json.loads(output("eval", "--model", GQA, "--dtype", "f32", "--data", tmp_path, "--json"))
    expect_losses(found, BASE)
    assert found["data"] == [str(tmp_path / "valid.jsonl")]


# ---- bad input

def test_rows_that_cannot_be_measured(tmp_path, chatty):
    path = tmp_path / "rows.jsonl"
    commands = [["eval"], ["compare", QV]]
    for command in commands:
        arguments = [*command, "--model", GQA, "--data", path]
        path.unlink(missing_ok=True)
        assert "expected a file of rows that can be read, got none" in complaint(1, *arguments)
        for text, message in [("", "expected at least one row, got none"), ("[1]", "expected a row to be an object"),
                              ('{"input_ids": [1, 2], "labels": [-100, -100]}', "expected a row with a trained token"),
                              ('{"text": "x"}', "expected a model with a tokenizer")]:
            path.write_text(text)
            assert message in complaint(1, *arguments)
    assert "expected a folder with valid.jsonl" in complaint(1, "eval", "--model", GQA, "--data", tmp_path)
    common = ["eval", "--model", chatty, "--exact-match", "--data", path]
    write_rows(path, {"text": "x"})
    assert complaint(1, *common) == (
        f"[{path}:1] expected a question and an answer in text to compare with, got neither")
    write_rows(path, {"messages": [*chat("a", "b")["messages"], {"role": "user", "content": "c"}]})
    assert "to compare with, got no answer" in complaint(1, *common)
    write_rows(path, chat("a", "b"))
    assert "the model's 128 positions" in complaint(1, *common, "--max-new-tokens", 500)


@pytest.mark.parametrize("arguments, message", [
    (["eval", "--model", GQA], "expected --data ROWS.jsonl, got nothing"),
    (["eval", "--data", ROWS], "expected --model PATH, got nothing"),
    (["eval", *TINY, "--before-after"], "expected --adapter beside --before-after, got none"),
    (["eval", *TINY, "--exact-mach"], "(did you mean '--exact-match'?)"),
    (["eval", *TINY, "--samples", -1], "--samples: expected an integer from 0"),
    (["compare", *TINY], "expected ADAPTER, got nothing"),
    (["compare", QV, ALL, QV, *TINY], "expected options (see --help), got "),
    (["compare", QV, "--model", GQA], "expected --data ROWS.jsonl, got nothing"),
])
def test_wrong_usage(arguments, message):
    assert message in complaint(2, *arguments)


def test_all_adapters_are_checked_before_the_first_is_measured(tmp_path):
    (tmp_path / "no_plugin.so").write_text("")
    nothing_runs = ["--plugin", tmp_path / "no_plugin.so"]
    none = tmp_path / "none"
    for command in (["eval", "--before-after", "--adapter"], ["compare", QV], ["compare"]):
        assert "no_plugin.so" in complaint(1, *command, ALL, *TINY, *nothing_runs)
        assert f"[{none}] expected an adapter folder" in complaint(1, *command, none, *TINY, *nothing_runs)


def test_adapters_that_do_not_fit(tmp_path):
    for command in (["eval", "--adapter", tmp_path / "none"], ["compare", QV, tmp_path / "none"]):
        assert "expected an adapter folder, got nothing there" in complaint(1, *command, *TINY)
