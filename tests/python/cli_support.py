"""Runs the `sophia` program of $SOPHIA_BUILD_DIR (default build/) for the tests of the command line."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pyarrow
import pyarrow.parquet
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
GQA = FIXTURES / "llama" / "gqa"
ROWS = FIXTURES / "sft" / "rows.jsonl"
SMOLLM2 = ROOT / ".deps" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROGRAM = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", ROOT / "build")) / "sophia"
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools') }}"
    "{% endif %}{{ message.role[0] }}:{{ message.content }}<e>{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


def sophia(*arguments, stdin="", env=None):
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=300,
        env={**os.environ, **(env or {})}, check=False,
    )


def output(*arguments, **more):
    """stdout of a run that must succeed without a word on stderr."""
    result = sophia(*arguments, **more)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.stdout.write(done.stdout.decode())
"""


def peak_of(*arguments, env=None):
    """Peak resident bytes of a run that must succeed, and its stdout. A process of its own starts the run: the peak
    of a child begins with what its parent has."""
    said = subprocess.run([sys.executable, "-c", MEASURE, PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, env={**os.environ, **(env or {})}, check=True).stdout
    peak, _, text = said.partition("\n")
    return int(peak), text


def complaint(exit_code, *arguments, **more):
    """The one line on stderr of a run that must fail with `exit_code`."""
    result = sophia(*arguments, **more)
    assert result.returncode == exit_code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("sophia: error: ")
    return lines[0].removeprefix("sophia: error: ")


def logits_of(model, out, *more, ids=("--ids-file", GQA / "ids.safetensors")):
    """f32 logits of `sophia logits`, written to `out`."""
    output("logits", "--model", model, *ids, "--out", out, "--dtype", "f32", *more)
    return load_file(out)["logits"]


def write_rows(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path, *rows, **options):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, **options)
    return path


def training(out, **options):
    """Arguments of a two-step run on the tiny model; options replace or add."""
    given = {"model": GQA, "data": ROWS, "out": out, "dtype": "f32", "max-steps": 2,
             "save-strategy": "no", **options}
    return ["train", *(text for key, value in given.items() for text in (f"--{key}", value))]


def text_model(folder, source=GQA):
    """The tiny model, or another of 128 ids, with a tokenizer of single ASCII characters and a chat template."""
    shutil.copytree(source, folder)
    characters = ["<unk>", "<s>", "<e>"] + [chr(code) for code in range(32, 127)]
    vocabulary = {text: token for token, text in enumerate(characters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.add_special_tokens(["<unk>", "<s>", "<e>"])
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<e>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
