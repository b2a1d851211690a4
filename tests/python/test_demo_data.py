"""The demo's committed data: what the generator writes, disjoint splits, strict answers."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

DEMO = pathlib.Path(__file__).resolve().parents[2] / "examples" / "demo"
KEYS = ["task", "day", "time", "who"]
DAY = re.compile(r"mon|tue|wed|thu|fri|sat|sun|today|tomorrow|\+[2-9]d")
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|\+[1-5]?\dm|\+[2-9]h")


def read(split):
    """The (typed, answer) pairs of a split; the answer as text."""
    pairs = []
    for line in (DEMO / f"{split}.jsonl").read_text(encoding="ascii").splitlines():
        row = json.loads(line)
        assert list(row) == ["messages"]
        assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
        assert row["messages"][0]["content"] == "Reminder to JSON"
        pairs.append(tuple(m["content"] for m in row["messages"][1:]))
    return pairs


@pytest.fixture(scope="module")
def train():
    return read("train")


@pytest.fixture(scope="module")
def test():
    return read("test")


def test_generator_writes_the_committed_bytes(tmp_path):
    subprocess.run([sys.executable, DEMO / "generate.py", "--out", tmp_path], check=True)
    for name in ("train.jsonl", "test.jsonl"):
        assert (tmp_path / name).read_bytes() == (DEMO / name).read_bytes(), name


def test_sizes(train, test):
    assert (len(train), len(test)) == (1000, 100)


def test_answers_are_strict_json(train, test):
    for typed, text in train + test:
        answer = json.loads(text)
        assert list(answer) == KEYS, typed
        assert json.dumps(answer, separators=(",", ":")) == text
        assert re.fullmatch(r"[a-z ]+", answer["task"]), typed
        assert answer["day"] is None or DAY.fullmatch(answer["day"]), typed
        assert answer["time"] is None or TIME.fullmatch(answer["time"]), typed
        assert answer["who"] is None or answer["who"].lower() in typed, typed
        assert typed == typed.lower()


def test_splits_are_disjoint(train, test):
    assert len({typed for typed, _ in train + test}) == len(train) + len(test)
    trained = [json.loads(text) for _, text in train]
    tested = [json.loads(text) for _, text in test]
    assert not {a["task"] for a in trained} & {a["task"] for a in tested}

    def meetings(answers):
        return {(a["who"], a["day"], a["time"]) for a in answers if a["who"]}

    assert not meetings(trained) & meetings(tested)


def test_split_has_new_words_and_names(train, test):
    def words(rows):
        return {word for _, text in rows for word in json.loads(text)["task"].split()}

    def names(rows):
        return {json.loads(text)["who"] for _, text in rows}

    assert words(test) - words(train)
    assert names(test) - names(train)
