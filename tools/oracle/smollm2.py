"""What SmolLM2-135M-Instruct (Q4_1 GGUF) says when transformers loads it and computes in f32.

    smollm2/prompts.json        {"name", "text" or "messages", "ids"} and, for chats, the greedy "new_ids"
    smollm2/logits.safetensors  `NAME.last_logits` f32 [V]: at the prompt's last position;
                                `NAME.logsumexp` f32 [S]: over the vocabulary at every position
"""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import common

NEW_TOKENS = 24

PROMPTS = [
    {"name": "sentence", "text": "The capital of France is"},
    {"name": "code", "text": "def fibonacci(n):\n    if n < 2:\n        return n\n"},
    {"name": "chat", "messages": [{"role": "user", "content": "What is gravity?"}]},
    {"name": "chat_system", "messages": [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Name three colours of a rainbow."},
    ]},
]


def prompt_ids(tokenizer, prompt):
    if "text" in prompt:
        return tokenizer(prompt["text"], add_special_tokens=False)["input_ids"]
    rendered = tokenizer.apply_chat_template(
        prompt["messages"], add_generation_prompt=True, tokenize=False
    )
    return tokenizer(rendered, add_special_tokens=False)["input_ids"]


def load():
    if not common.SMOLLM2.exists():
        raise SystemExit(f"expected {common.SMOLLM2} (tools/setup.sh build), got no such file")
    folder, file = common.SMOLLM2.parent, common.SMOLLM2.name
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval(), AutoTokenizer.from_pretrained(folder, gguf_file=file)


def write():
    model, tokenizer = load()
    prompts, tensors = [], {}
    for prompt in PROMPTS:
        ids = prompt_ids(tokenizer, prompt)
        logits = common.logits_of(model, torch.tensor([ids]))[0]
        tensors[f"{prompt['name']}.last_logits"] = logits[-1]
        tensors[f"{prompt['name']}.logsumexp"] = torch.logsumexp(logits.double(), -1).float()
        record = {**prompt, "ids": ids}
        if "messages" in prompt:
            new_ids, lead = common.greedy(model, ids, NEW_TOKENS, stop_ids=(tokenizer.eos_token_id,))
            record |= {"new_ids": new_ids, "new_text": tokenizer.decode(new_ids),
                       "smallest_lead": lead}
        prompts.append(record)
    folder = common.FIXTURES / "smollm2"
    common.write_json(folder / "prompts.json", prompts)
    common.write_tensors(folder / "logits.safetensors", tensors)
