"""`sophia preview`: which tokens are trained, and how long rows are."""

import json
import random
import re
import shutil

import numpy as np
import pytest
from cli_support import GQA, SMOLLM2, complaint, output, sophia, text_model, training, write_rows

NOWHERE = {"SOPHIA_PJRT_PLUGIN": "/nonexistent.so"}


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return text_model(tmp_path_factory.mktemp("model") / "chatty")


def preview(model, data, *flags, **more):
    return output("preview", "--model", model, "--data", data, *flags, **more)


def test_rows_are_printed_with_their_trained_tokens_and_without_a_device(tmp_path, chatty):
    data = write_rows(tmp_path / "rows.jsonl",
                      {"messages": [{"role": "user", "content": "hi"},
                                    {"role": "assistant", "content": "yo"}]},
                      {"prompt": "2+2=", "completion": "4"}, {"text": "abc"}, {"text": "unseen"})
    text = preview(chatty, data, "--rows", 3, env=NOWHERE)
    assert text.startswith(f"== {data}:1: 10 tokens, 3 trained\nu:hi<e>a:⟦yo<e>⟧\n\n"
                           f"== {data}:2: 6 tokens, 2 trained\n2+2=⟦4<e>⟧\n\n"
                           f"== {data}:3: 4 tokens, 3 trained\na⟦bc<e>⟧\n\n")
    assert "unseen" not in text
    assert text.endswith("rows           4\ntokens a row   min 4, median 6, p95 10, max 10\n"
                         "trained        14 of 27 tokens (51.9 %)\n")


def test_lengths_are_those_of_numpy(tmp_path):
    generator = random.Random(1)
    lengths = [generator.randrange(1, 60) for _ in range(501)]
    rows = [{"input_ids": [1] * n, "labels": [-100] + [1] * (n - 1)} for n in lengths]
    files = [write_rows(tmp_path / f"{i}.jsonl", *rows[i::3]) for i in range(3)]
    flags = [flag for file in files[1:] for flag in ("--data", file)]
    text = preview(GQA, files[0], *flags, "--rows", 0, "--max-length", 40)
    median, p95 = np.percentile(lengths, [50, 95], method="inverted_cdf")
    cut, dropped = sum(n > 40 for n in lengths), sum(n == 1 for n in lengths)
    trained, tokens = sum(min(n, 40) - 1 for n in lengths), sum(min(n, 40) for n in lengths)
    assert text == (
        f"rows           501, {cut} cut to max_length, {dropped} left out without a trained token\n"
        f"tokens a row   min {min(lengths)}, median {median}, p95 {p95}, max {max(lengths)}\n"
        f"trained        {trained} of {tokens} tokens ({100 * trained / tokens:.1f} %)\n")


def test_masks_that_are_all_or_nothing_are_refused_after_the_report(tmp_path, chatty):
    mute = shutil.copytree(chatty, tmp_path / "mute")  # its template leaves the user out
    template = "{% for m in messages %}{% if m.role[0] == 'a' %}{{ m.content }}<e>{% endif %}{% endfor %}"
    config = {"eos_token": "<e>", "chat_template": template}
    (mute / "tokenizer_config.json").write_text(json.dumps(config))
    question, answer = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}
    for model, messages, reason in [
        (chatty, [question], "expected a row with a trained token"),
        (mute, [question, answer], "got 1 rows with prompts and every token of theirs trained"),
    ]:
        data = write_rows(tmp_path / "rows.jsonl", {"messages": messages})
        result = sophia("preview", "--model", model, "--data", data)
        assert result.returncode == 1
        assert f"== {data}:1" in result.stdout and "tokens a row" in result.stdout
        assert reason in result.stderr
        assert reason in complaint(1, *training(tmp_path / "out", model=model, data=data))


def test_long_rows_say_that_they_are_cut(tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", {"input_ids": [1, 2, 3, 4, 5]})
    text = preview(GQA, data, "--max-length", 3)
    assert text.startswith(f"== {data}:1: 5 tokens cut to 3, 2 trained\n1 ⟦2 3⟧\n\n")


def test_folders_and_several_files_are_trained_on(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_rows(folder / "train.jsonl", *[{"input_ids": [1, 2]}] * 2)
    write_rows(folder / "valid.jsonl", *[{"input_ids": [1, 2]}] * 9)
    more = write_rows(tmp_path / "more.jsonl", *[{"input_ids": [1, 2]}] * 3)
    config = tmp_path / "run.yaml"
    config.write_text(f"data: [{folder}, {more}]\n")
    for flags in (["--data", folder, "--data", more], ["--config", config]):
        arguments = training(tmp_path / "out")
        at = arguments.index("--data")
        assert "data: 5 examples" in output(*arguments[:at], *arguments[at + 2:], *flags)


@pytest.mark.parametrize("row", [
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]},
    {"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]},
    {"instruction": "Hi", "input": "", "output": "Yo"}, {"question": "Hi", "answer": "Yo"},
])
def test_every_form_of_a_conversation_gives_the_same_tokens(tmp_path, row):
    data = write_rows(tmp_path / "rows.jsonl", row)
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
    same = write_rows(tmp_path / "same.jsonl", {"messages": chat})
    ours, theirs = (re.sub(r"^== \S+", "", preview(SMOLLM2, path)) for path in (data, same))
    assert ours == theirs
    assert "⟦Yo<|im_end|>⟧" in ours


def test_wrong_usage(tmp_path):
    assert complaint(2, "preview", "--model", GQA) == "expected --data ROWS.jsonl, got nothing"
    assert "expected a text or a list of texts" in complaint(
        2, "preview", "--model", GQA, "--data", "")
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({"data": [1]}))
    assert "run.yaml: data: expected a text or a list of texts, got [1]" in complaint(
        2, "train", "--config", config)
