"""What the fixture writers share: where fixtures lie, seeded numbers, canonical files."""

import hashlib
import json
import pathlib
import re
import warnings

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
SMOLLM2 = ROOT / ".deps" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def set_up():
    """Quiet libraries and, with what make_fixtures sets before the imports, the same bytes everywhere."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.backends.mkldnn.set_flags(_enabled=False)
    torch.use_deterministic_algorithms(True)


def rng(*names):
    """A generator seeded by the names alone, so that a fixture does not depend on its neighbours."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def normal(generator, shape, scale):
    return torch.from_numpy((generator.standard_normal(shape) * scale).astype(np.float32))


def write_tensors(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, metadata={"format": "pt"})


def write_json(path, value):
    """Indented JSON with lists of plain values on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = re.sub(r"\[\n[^\[\]{}]*\]", lambda plain: json.dumps(json.loads(plain[0])), text)
    path.write_text(text + "\n")


def load_base(folder, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval()


@torch.no_grad()
def logits_of(model, ids):  # ids [B, S] -> [B, S, V]
    return model(input_ids=ids.long(), use_cache=False).logits.float()


def greedy(model, prompt, new_tokens, stop_ids=()):
    """Greedy continuation of one prompt and the smallest lead of a chosen token over the runner-up."""
    ids = list(prompt)
    lead = float("inf")
    for _ in range(new_tokens):
        last = logits_of(model, torch.tensor([ids]))[0, -1]
        best = torch.topk(last, 2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
        if ids[-1] in stop_ids:
            break
    return ids[len(prompt) :], lead
