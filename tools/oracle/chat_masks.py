"""What transformers encodes a conversation to and which of its tokens belong to the assistant.

    chats/cases.json   {"tokenizer", "messages" | "prompt" and "completion", "ids", "learnt"}
    chats/NAME.jinja   the template of tokenizer NAME; smollm2's is its own

`learnt` is one 0 or 1 a token. For messages it is `return_assistant_tokens_mask` over the template with
its assistant turns, up to their end of sequence, in {% generation %}; the template itself has no such
block, but for that of `marked`. For a prompt and a completion, which are encoded as one text, a token is learnt when the library
says that a character of the completion, or the end of sequence after it, is in it.
"""

import json

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import common
import tokenizer_fixtures

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "<<{{ m['content'] + '<|im_end|>' }}>>{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + "
    "' [/INST]' }}{% else %}<<{{ ' ' + m['content'] + ' ' + eos_token }}>>{% endif %}{% endfor %}"
)
# Nothing keeps the assistant's words and the user's apart.
TIGHT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% else %}"
    "<<{{ m['content'] }}>>{% endif %}{% endfor %}"
)
# Marks other than whole turns, and earlier turns that come out differently.
MARKED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'Q: ' + m['content'] }}{% else %}"
    "{{ ' A: ' if loop.last else ' Earlier: ' }}<<{{ m['content'] }}>>{{ eos_token + '\n' }}"
    "{% endif %}{% endfor %}"
)
TOKENIZERS = {
    # name: tokenizer, template with << >> around what the assistant says, BOS, EOS
    "smollm2": (None, CHATML, "<|im_start|>", "<|im_end|>"),
    "llama2": ("llama2", LLAMA2, "<s>", "</s>"),
    "metaspace_first": ("metaspace_first", LLAMA2, "<s>", "</s>"),
    "tight": ("llama3", TIGHT, "<s>", "</s>"),
    "marked": ("llama3", MARKED, "<s>", "</s>"),
}


def chat(*contents):
    roles = ["user", "assistant"]
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


CHATS = [
    chat("Hi", "Hello there."),
    chat("What is 2+2?", "4", "And why?", "Because two and two\nmake four: 1, 2, 3, 4."),
    chat("Smile!", "🙂 naïve café 你好.", "again", " the  spaces \n"),
    chat("code", "def f(x):\n    return x", "", "the"),
]
PAIRS = [
    ("2+2=", "4"),
    ("The capital of France is", " Paris."),
    ("f(", ")"),
    ("hel", "lo the"),
    ("the smile: ", "🙂"),
    ("", "All of it"),
    ("Question: why?\nAnswer:", " because</s>"),
]


def load(source, bos, eos):
    if source is None:
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer_fixtures.smollm2(), bos_token=bos, eos_token=eos
        )
    value = json.loads((tokenizer_fixtures.FOLDER / f"{source}.json").read_text())
    processor = value["post_processor"]
    if processor["type"] == "Sequence":  # without the part that trims spaces off offsets
        value["post_processor"] = processor["processors"][-1]
    tokenizer = Tokenizer.from_str(json.dumps(value))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)


def with_tags(template):
    return template.replace("<<", "{% generation %}").replace(">>", "{% endgeneration %}")


def encode_chat(tokenizer, template, messages):
    out = tokenizer.apply_chat_template(
        messages, chat_template=with_tags(template), return_dict=True, return_assistant_tokens_mask=True
    )
    return out["input_ids"], out["assistant_masks"]


def encode_pair(tokenizer, prompt, completion):
    """As TRL: one text, with the end of sequence after the completion."""
    text = prompt + completion
    if not completion.endswith(tokenizer.eos_token):
        text += tokenizer.eos_token
    out = tokenizer(text)
    learnt = {out.char_to_token(at) for at in range(len(prompt), len(text))}
    first = min(at for at in learnt if at is not None)
    last = max(at for at in learnt if at is not None)
    ids = out["input_ids"]
    # A tokenizer that adds the end of sequence has it twice now.
    if ids[-2:] == [tokenizer.eos_token_id] * 2:
        ids = ids[:-1]
    return ids, [int(first <= at <= last) for at in range(len(ids))]


def write():
    folder = common.FIXTURES / "chats"
    cases = []
    for name, (source, template, bos, eos) in TOKENIZERS.items():
        tokenizer = load(source, bos, eos)
        if source:
            folder.mkdir(exist_ok=True)
            plain = template.replace("<<", "").replace(">>", "")
            (folder / f"{name}.jinja").write_text(with_tags(template) if name == "marked" else plain)
        about = {"tokenizer": name, "file": source, "bos": bos, "eos": eos}
        for messages in CHATS:
            ids, learnt = encode_chat(tokenizer, template, messages)
            cases.append({**about, "messages": messages, "ids": ids, "learnt": learnt})
        for prompt, completion in [] if name == "marked" else PAIRS:
            ids, learnt = encode_pair(tokenizer, prompt, completion)
            cases.append({**about, "prompt": prompt, "completion": completion, "ids": ids,
                          "learnt": learnt})
    common.write_json(folder / "cases.json", cases)
