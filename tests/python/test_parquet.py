"""Parquet files as data: the rows that pyarrow wrote, whatever wrote them; memory; what is refused."""

import datetime
import decimal
import json
import os
import re
import resource
import shutil
import signal
import subprocess

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from cli_support import (GQA, PROGRAM, ROWS, SMOLLM2, complaint, output, sophia, text_model,
                         training, write_parquet, write_rows)
from resume_support import rows as metrics
from test_streaming import peak_mb, run

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo \u00e9\u2028\"\\"}]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {
    "type": "object", "properties": {"x": {"type": "string"}}}}}]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return text_model(tmp_path_factory.mktemp("model") / "chatty")


def preview(model, data, *flags):
    text = output("preview", "--model", model, "--data", data, "--rows", 100, *flags)
    return re.sub(r"^== .*?(:|, row )(\d+):", r"== \2:", text, flags=re.MULTILINE)


def twins(folder, *rows, **options):
    return write_rows(folder / "rows.jsonl", *rows), write_parquet(folder / "rows.parquet", *rows, **options)


@pytest.mark.parametrize("row", [
    {"messages": CHAT}, {"messages": CHAT, "tools": json.dumps(TOOLS)}, {"messages": CHAT, "tools": TOOLS},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]},
    {"instruction": "Hi", "input": "", "output": "Yo", "history": [["a", "b"]]},
    {"question": "Hi", "answer": "Yo"}, {"prompt": CHAT[:1], "completion": CHAT[1:]},
    {"prompt": "2+2=", "completion": "4"}, {"text": "abc"}, {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]},
    {"segments": [{"text": "a ", "label": False}, {"text": "b", "label": True}]},
])
def test_every_form_of_a_row_is_that_of_json_lines(tmp_path, row):
    lines, parquet = twins(tmp_path, row, row)
    assert preview(SMOLLM2, parquet) == preview(SMOLLM2, lines)


def test_keys_that_only_other_rows_have_are_not_there(tmp_path, chatty):
    """A struct of Parquet has all keys; a template that asks whether there is one sees JSON's answer."""
    model = shutil.copytree(chatty, tmp_path / "model")
    template = ("{% for m in messages %}{{ m.role[0] }}{% if 'tool_calls' in m %}[{{ m.tool_calls | tojson }}]"
                "{% endif %}{% if m.name is defined %}({{ m.name }}){% endif %}{{ m.content }}<e>{% endfor %}")
    (model / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<e>", "chat_template": template}))
    calls = [{"type": "function", "function": {"name": "f", "arguments": {"x": 1.5, "y": [1, 2], "z": True}}}]
    rows = [{"messages": CHAT[:1] + [{"role": "assistant", "content": "calls", "tool_calls": calls}]},
            {"messages": [{"role": "user", "name": "Ann", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    lines, parquet = twins(tmp_path, *rows)
    assert preview(model, parquet) == preview(model, lines)
    assert "(Ann)" in preview(model, parquet)


@pytest.mark.parametrize("kind", [
    pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_and_numbers_of_every_width(tmp_path, kind):
    lines = write_rows(tmp_path / "rows.jsonl", *[{"text": text} for text in ("abc", "d", "abc")])
    table = pa.table({"text": pa.array(["abc", "d", "abc"]).cast(kind)})
    pq.write_table(table, tmp_path / "rows.parquet", compression="zstd")
    assert preview(SMOLLM2, tmp_path / "rows.parquet") == preview(SMOLLM2, lines)


@pytest.mark.parametrize("ids, labels", [
    (pa.list_(pa.int8()), pa.large_list(pa.int16())), (pa.list_(pa.uint16(), 2), pa.list_(pa.int32(), 2)),
    (pa.list_(pa.uint64()), pa.list_(pa.int64()))])
def test_lists_of_every_width(tmp_path, ids, labels):
    table = pa.table({"input_ids": pa.array([[5, 6], [7, 8]], ids), "labels": pa.array([[-100, 6], [7, 8]], labels)})
    pq.write_table(table, tmp_path / "rows.parquet")
    lines = write_rows(tmp_path / "rows.jsonl", *table.to_pylist())
    assert preview(GQA, tmp_path / "rows.parquet") == preview(GQA, lines)


def test_values_in_a_conversation_are_those_of_pyarrow(tmp_path, chatty):
    """Types beside text, seen through a template."""
    model = shutil.copytree(chatty, tmp_path / "model")
    template = "{% for m in messages %}{{ m.content | tojson }}<e>{% endfor %}"
    (model / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<e>", "chat_template": template}))
    content = {"float": 0.1, "half": 1.5, "small": -3, "large": 2**63 + 1, "yes": True, "none": None,
               "list": [1, None, 3], "map": [("a", 1), ("b", None)], "date": datetime.date(2026, 1, 2),
               "price": decimal.Decimal("1.50"), "bytes": b"x", "nan": float("nan"), "code": "c"}
    kind = pa.struct({"float": pa.float64(), "half": pa.float16(), "small": pa.int8(), "large": pa.uint64(),
                      "yes": pa.bool_(), "none": pa.null(), "list": pa.list_(pa.int32()),
                      "map": pa.map_(pa.string(), pa.int32()), "date": pa.date32(), "price": pa.decimal128(5, 2),
                      "bytes": pa.binary(), "nan": pa.float32(), "code": pa.dictionary(pa.int8(), pa.string())})
    messages = pa.list_(pa.struct({"role": pa.string(), "content": kind}))
    rows = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
    pq.write_table(pa.table({"messages": pa.array([rows], messages)}), tmp_path / "rows.parquet")
    same = {**content, "map": {"a": 1, "b": None}, "date": "2026-01-02", "price": "1.50"}
    for key in ("none", "bytes", "nan"):
        del same[key]
    lines = write_rows(tmp_path / "rows.jsonl", {"messages": [{**m, "content": same} for m in rows]})
    assert preview(model, tmp_path / "rows.parquet") == preview(model, lines)


@pytest.mark.parametrize("flags", [[], ["--streaming"]])
def test_training_is_that_on_json_lines(tmp_path, flags):
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] * 40
    lines, parquet = twins(tmp_path, *rows, row_group_size=7)
    options = {"max-steps": 6, "save-strategy": "no"}
    output(*run(tmp_path / "a", *flags, data=lines, **options))
    output(*run(tmp_path / "b", *flags, data=parquet, **options))
    assert [row["loss"] for row in metrics(tmp_path / "a")] == [row["loss"] for row in metrics(tmp_path / "b")]
    name = "adapter_model.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_folders_as_the_hub_has_them(tmp_path):
    """Files in parts count as one of the data: for their order, for weights, and to evaluate on."""
    rows = [{"input_ids": [n, n + 1, n + 2]} for n in range(3, 43)]
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    write_parquet(folder / "train-00000-of-00002.parquet", *rows[:15])
    write_parquet(folder / "train-00001-of-00002.parquet", *rows[15:30])
    write_parquet(folder / "validation-00000-of-00001.parquet", *rows[30:])
    same = tmp_path / "same"
    same.mkdir()
    write_rows(same / "train.jsonl", *rows[:30])
    write_rows(same / "valid.jsonl", *rows[30:])
    more = write_rows(tmp_path / "more.jsonl", *rows[:4])
    for name, data in [("a", tmp_path / "hub"), ("b", same)]:
        output(*run(tmp_path / name, "--data", more, "--data-weights", "1,2", "--eval-strategy", "steps",
                    "--eval-steps", 2, data=data, **{"max-steps": 4, "save-strategy": "no"}))
    ours, theirs = ([{key: row[key] for key in ("loss", "eval_loss") if key in row} for row in metrics(tmp_path / name)]
                    for name in "ab")
    assert ours == theirs
    assert any("eval_loss" in row for row in ours)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """One row group of 160000 rows, of which ids take 77 MB."""
    few, many = (tmp_path / name for name in ("few.parquet", "many.parquet"))
    for path, count in ((few, 100), (many, 160_000)):
        ids = pa.array(range(120 * count)).cast(pa.int32())
        ids = pa.compute.add(pa.compute.bit_wise_and(ids, 63), 5)
        lists = pa.ListArray.from_arrays(pa.array(range(0, 120 * count + 1, 120), pa.int32()), ids)
        pq.write_table(pa.table({"input_ids": lists}), path, row_group_size=1 << 20, use_dictionary=False)
    options = {"max-steps": 2, "save-strategy": "no", "max-length": 128, "batch-size": 1}
    small, streamed = (peak_mb(run(tmp_path / name, "--streaming", data=data, **options))
                       for name, data in [("a", few), ("b", many)])
    assert streamed - small < 40


def test_eval_and_generate_take_parquet(tmp_path, chatty):
    lines, parquet = twins(tmp_path, {"prompt": "ab", "completion": "c"}, {"prompt": "x", "completion": "y"})
    texts = []
    for data in (lines, parquet):
        out = tmp_path / "answers.jsonl"
        output("generate", "--model", chatty, "--data", data, "--out", out, "--max-new-tokens", 3, "--dtype", "f32")
        report = output("eval", "--model", chatty, "--data", data, "--dtype", "f32")
        texts.append((out.read_text(), report.replace("rows.jsonl", "rows.parquet")))
    assert texts[0] == texts[1]


def refused(tmp_path, data, **more):
    return complaint(1, *training(tmp_path / "out", data=data), **more)


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    path = tmp_path / "rows.parquet"
    assert refused(tmp_path, path) == f"[{path}] expected a file of rows that can be read, got none"
    path.write_text('{"text": "a"}\n')
    assert refused(tmp_path, path).startswith(
        f"[{path}] expected a Parquet file, got: Parquet magic bytes not found in footer")
    path.write_bytes(b"")
    assert f"[{path}] expected a Parquet file, got: " in refused(tmp_path, path)
    write_parquet(path, *[{"input_ids": [1, 2]}] * 9, write_page_checksum=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert f"[{path}] expected a Parquet file, got: " in refused(tmp_path, path)
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    assert f"[{path}] expected a Parquet file that can be read, got behind row 0: " in refused(tmp_path, path)


def test_rows_are_named_by_their_number(tmp_path):
    path = write_parquet(tmp_path / "rows.parquet", {"input_ids": [1, 2]}, {"input_ids": [1, 500]})
    assert f"[{path}, row 2] expected token ids from 0 to 127, got 500" in refused(tmp_path, path)
    write_parquet(path, {"x": 1, "y": "b"})
    assert f"[{path}, row 1] expected a row with the keys" in refused(tmp_path, path)
    assert "got 'x', 'y'" in refused(tmp_path, path)
    write_parquet(path, {"text": None})
    assert f"[{path}, row 1] expected a value of 'text', got null" in refused(tmp_path, path)
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert refused(tmp_path, path) == f"[{path}] expected at least one row, got none"


def test_changed_bytes_never_crash(tmp_path):
    """Whatever stands in the file, the program ends by itself: with its rows, or one line that says why not."""
    path = write_parquet(tmp_path / "rows.parquet", *[{"messages": CHAT, "input_ids": [1, 2]}] * 20)
    whole = path.read_bytes()
    for i in range(24):
        at = 4 + i * (len(whole) - 12) // 24
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (0x55 + i)]) + whole[at + 1:])
        result = sophia("preview", "--model", SMOLLM2, "--data", path)
        assert result.returncode in (0, 1) and len(result.stderr.splitlines()) <= 1, (i, result)


def test_rows_need_room_in_the_temporary_folder(tmp_path):
    path = write_parquet(tmp_path / "rows.parquet", *[{"input_ids": list(range(100))}] * 9000)
    nowhere = refused(tmp_path, path, env={"TMPDIR": str(tmp_path / "none")})
    assert nowhere.startswith(f"[rows of {path}] expected a temporary folder (TMPDIR), got: ")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    result = subprocess.run([PROGRAM, "preview", "--model", GQA, "--data", path], capture_output=True, text=True,
                            env={**os.environ, "TMPDIR": str(tmp_path)}, preexec_fn=limit, check=False)
    assert result.returncode == 1
    assert re.fullmatch(rf"sophia: error: \[rows of {path}\] expected room for \d+ bytes and more in {tmp_path} "
                        r"\(TMPDIR names another folder\), got: File too large\n", result.stderr)


def test_a_program_without_the_module_says_so_and_reads_json_lines(tmp_path):
    alone = shutil.copy(PROGRAM, tmp_path / "sophia")
    lines, parquet = twins(tmp_path, {"input_ids": [1, 2]})
    results = [subprocess.run([alone, "preview", "--model", GQA, "--data", data], capture_output=True, text=True,
                              check=False) for data in (lines, parquet)]
    assert results[0].returncode == 0
    assert results[1].returncode == 1
    assert "expected sophia_parquet.so beside the program, to read Parquet, got: " in results[1].stderr
    linked = subprocess.run(["ldd", alone], capture_output=True, text=True, check=True).stdout
    assert "arrow" not in linked and "parquet" not in linked
