"""Greedy continuations by the tiny case llama/gqa, with and without an adapter.

generate/greedy.json: a list of {"base", "adapter" or null, "prompt", "new_ids", "smallest_lead"}:
`smallest_lead` is by how much, over all steps, the chosen token's logit beat the runner-up's.
"""

from peft import PeftModel

import common
import sft

NEW_TOKENS = 16
# Closer calls than this could fall either way on another machine.
MIN_LEAD = 1e-3


def continuation(model, adapter, prompt):
    new_ids, lead = common.greedy(model, prompt, NEW_TOKENS)
    if lead < MIN_LEAD:
        raise SystemExit(f"generate: expected a lead of at least {MIN_LEAD}, got {lead}: other seed")
    generated = {"base": sft.BASE, "adapter": adapter, "prompt": prompt, "new_ids": new_ids}
    return {**generated, "smallest_lead": lead}


def write():
    generator = common.rng("generate", "prompts 2")
    prompts = [generator.integers(3, 128, length).tolist() for length in (1, 5, 12)]
    results = []
    for adapter in (None, "sft/adapters/all_linear", "sft/adapters/rslora"):
        model = common.load_base(common.FIXTURES / sft.BASE)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, common.FIXTURES / adapter).eval()
        results += [continuation(model, adapter, prompt) for prompt in prompts]
    common.write_json(common.FIXTURES / "generate" / "greedy.json", results)
