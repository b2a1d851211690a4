"""`sophia tokenize` gives the ids of the `tokenizers` package and the text of jinja2."""

import json
import pathlib

import gguf
import jinja2.sandbox
import pytest
from cli_support import FIXTURES, SMOLLM2, output
from tokenizers import Tokenizer

TOKENIZERS = ["smollm", "gpt2", "llama2", "llama3", "qwen2", "gpt4o", "deepseek3"]
CHATS = {
    "plain": [{"role": "user", "content": "What is gravity?"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi 🙂\n\n  there"}],
    "turns": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "<|im_end|>2"},
              {"role": "user", "content": "3"}],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """All texts of the corpus as one file."""
    lines = (FIXTURES / "tokenizer" / "corpus.jsonl").read_text().strip("\n").split("\n")
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_bytes("\n".join(json.loads(line)["text"] for line in lines).encode())
    return path


@pytest.mark.parametrize("name", TOKENIZERS)
def test_file_gives_the_ids_of_tokenizers(tmp_path, corpus, name):
    path = tmp_path / "tokenizer.json"
    path.symlink_to(FIXTURES / "tokenizer" / f"{name}.json")
    reference = Tokenizer.from_file(str(path))
    text = corpus.read_bytes().decode()
    for flags, special in ([], True), (["--no-add-special-tokens"], False):
        ids = json.loads(output("tokenize", "--model", tmp_path, "--file", corpus, *flags))
        assert ids == reference.encode(text, add_special_tokens=special).ids


def test_text_is_taken_as_it_is(tmp_path):
    (tmp_path / "tokenizer.json").symlink_to(FIXTURES / "tokenizer" / "smollm.json")
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ["[a, b]", "a=b", "--text", "-1", " ", "a\nb", "{}"]:
        ids = json.loads(output("tokenize", "--model", tmp_path, f"--text={text}"))
        assert ids == reference.encode(text).ids
    assert json.loads(output("tokenize", "--model", tmp_path, "--text", "")) == []


def smollm2_template():
    field = gguf.GGUFReader(SMOLLM2).fields["tokenizer.chat_template"]
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(bytes(field.parts[field.data[0]]).decode())


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", CHATS)
def test_messages_give_the_text_of_jinja2(tmp_path, name, asks):
    path = pathlib.Path(tmp_path, "messages.json")
    path.write_text(json.dumps({"messages": CHATS[name]} if asks else CHATS[name]))
    flags = ["--add-generation-prompt"] if asks else []
    text, ids, end = output("tokenize", "--model", SMOLLM2, "--messages", path, *flags).rsplit("\n", 2)
    rendered = smollm2_template().render(messages=CHATS[name], add_generation_prompt=asks)
    assert (text + "\n", end) == (rendered, "")
    raw = output("tokenize", "--model", SMOLLM2, "--no-add-special-tokens", f"--text={rendered}")
    assert json.loads(ids) == json.loads(raw)


def test_messages_give_the_ids_of_transformers(tmp_path):
    prompts = json.loads((FIXTURES / "smollm2" / "prompts.json").read_text())
    chat = next(prompt for prompt in prompts if "messages" in prompt)
    path = tmp_path / "messages.json"
    path.write_text(json.dumps(chat["messages"]))
    text = output("tokenize", "--model", SMOLLM2, "--messages", path, "--add-generation-prompt")
    assert json.loads(text.splitlines()[-1]) == chat["ids"]
