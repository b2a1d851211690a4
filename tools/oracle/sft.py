"""Fine-tuning runs of transformers' own Trainer over peft adapters, on the tiny case llama/gqa and
on llama/tied, whose embeddings are tied.

    sft/targets.json           [target_modules, names of the modules that get an adapter]
    sft/rows.jsonl             rows {"input_ids", "labels"}; label i belongs to token i, -100 is ignored
    sft/adapters/NAME/         adapters with random B, in PEFT's format
    sft/adapters/NAME/logits.safetensors   `logits` f32 [B, S, V] of base + adapter over the base's `ids`
    sft/runs.json              runs: hyper-parameters under TRL's names and what every step gave
    sft/pissa.json             a run from peft's PiSSA initialisation, with its LoraConfig as `lora`
    sft/runs/NAME/adapter_model.safetensors   the adapter after the last step

A step's loss is the mean over all its trained tokens, that is over every label but -100 at positions
1.. of every row of every accumulated batch (Trainer's num_items_in_batch): micro-batches weigh by
their trained tokens, not equally. grad_norm is the norm before clipping, learning_rate the rate that
the step used (0 in the first step of a warm-up). Rows come in file order; a pass that does not fill
the last batch, or the last accumulation, steps with what is left.
"""

import json
import pathlib
import shutil
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

import common

BASE = "llama/gqa"
ADAPTERS = {
    "qv": {"target_modules": ["q_proj", "v_proj"], "r": 4, "lora_alpha": 8},
    "all_linear": {"target_modules": "all-linear", "r": 3, "lora_alpha": 6},
    "rslora": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], "r": 4, "lora_alpha": 2,
               "use_rslora": True},
    "regex": {"target_modules": r".*\.(1\.self_attn\.q_proj|mlp\.(up|down)_proj)", "r": 2,
              "lora_alpha": 4},
    "dora": {"target_modules": ["q_proj", "v_proj", "down_proj"], "r": 3, "lora_alpha": 6, "use_dora": True},
    "dora_regex": {"target_modules": r".*\.(1\.self_attn\.q_proj|mlp\.(up|down)_proj)", "r": 2,
                   "lora_alpha": 4, "use_dora": True, "rank_pattern": {"0.mlp.up_proj": 3}},
    # Ranks that tell layers of one module apart, and patterns of which the first counts, in the order of
    # the files here, whose keys are sorted.
    "patterns": {"target_modules": ["q_proj", "v_proj", "o_proj", "up_proj"], "r": 4, "lora_alpha": 8,
                 "rank_pattern": {r"[vo]_proj": 3, "layers.0.self_attn.q_proj": 2,
                                  "model.layers.1.mlp.up_proj": 7, "q_proj": 5},
                 "alpha_pattern": {r"1\.self_attn\..*": 5, "o_proj": 3, "v_proj": 2.5}},
    # Modules trained as a whole: tables, a norm of each layer, and a target, which so gets no factors.
    "saved": {"target_modules": ["q_proj", "v_proj", "up_proj"], "r": 3, "lora_alpha": 6,
              "modules_to_save": ["embed_tokens", "input_layernorm", "lm_head", "up_proj"]},
    # Of tied embeddings one is trained; the other keeps the base's values.
    "saved_embedding": {"target_modules": ["q_proj"], "r": 2, "lora_alpha": 4, "modules_to_save": ["embed_tokens"]},
    "saved_head": {"target_modules": ["q_proj"], "r": 2, "lora_alpha": 4, "modules_to_save": ["lm_head", "model.norm"]},
}
BASES = {"saved_embedding": "llama/tied", "saved_head": "llama/tied"}  # of others BASE

DEFAULTS = {
    "max_steps": 5,
    "num_train_epochs": 1,
    "max_length": 32,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0.01,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "optim": "adamw_torch",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}

RUNS = {
    "qv_linear": ("qv", {"warmup_steps": 2, "weight_decay": 0.01}),
    "qv_accumulate": ("qv", {"gradient_accumulation_steps": 2, "weight_decay": 0.01}),
    "all_linear_cosine": ("all_linear", {"lr_scheduler_type": "cosine", "warmup_steps": 1,
                                         "weight_decay": 0.01, "max_grad_norm": 0.0}),
    "all_linear_accumulate": ("all_linear", {"gradient_accumulation_steps": 2,
                                             "lr_scheduler_type": "cosine", "max_grad_norm": 0.5,
                                             "adam_beta2": 0.95, "adam_epsilon": 1e-6,
                                             "weight_decay": 0.1}),
    "rslora_constant": ("rslora", {"lr_scheduler_type": "constant"}),
    "regex_constant_with_warmup": ("regex", {"lr_scheduler_type": "constant_with_warmup",
                                             "warmup_steps": 3}),
    "sgd": ("all_linear", {"optim": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}),
    "sgd_unclipped": ("qv", {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.0,
                             "lr_scheduler_type": "constant"}),
    "patterns": ("patterns", {"weight_decay": 0.01}),
    "dora": ("dora", {"weight_decay": 0.01, "gradient_accumulation_steps": 2}),
    "dora_regex": ("dora_regex", {"lr_scheduler_type": "constant"}),
    "loraplus": ("qv", {"loraplus_lr_ratio": 4.0, "weight_decay": 0.01}),
    "saved": ("saved", {}),
    "saved_accumulate": ("saved", {"gradient_accumulation_steps": 2, "lr_scheduler_type": "constant"}),
    "saved_embedding": ("saved_embedding", {}),
    "saved_head": ("saved_head", {"lr_scheduler_type": "cosine"}),
    "truncated": ("qv", {"max_length": 12}),
    # 5 rows in batches of 2, accumulated by 2: two steps a pass, the second over one row.
    "epochs": ("qv", {"max_steps": -1, "num_train_epochs": 2, "gradient_accumulation_steps": 2,
                      "rows": 5}),
}


# What target_modules may be: names, ends of paths, and Python's regular expressions for a whole path.
TARGETS = [
    "all-linear",
    ["q_proj", "down_proj"],
    ["self_attn.k_proj"],
    ["model.layers.1.mlp.up_proj", "v_proj"],
    r".*\.(1\.self_attn\.q_proj|mlp\.(up|down)_proj)",
    r"(?P<stem>model\.layers)\.(?P<layer>\d+)\.self_attn\.(q|k)_proj",
    r"(?:.*\.)?0\..*_proj",
    r"model\.layers\.0\.mlp\.(up|up_proj)",
    r"(?i)MODEL\.LAYERS\.1\.SELF_ATTN\.O_PROJ",
    r"^model\.layers\.[^.]+\.mlp\.(?!up)\w+_proj$",
    r"model.layers.0.self_attn.(?P<a>[qk])_proj|.*\.1\.mlp\.gate_proj\Z",
    r".*(?<=self_attn\.)[a-z]{1,1}_proj",
    r"\Amodel\.(\w+)\.[01]\.mlp\.(up|down|gate)_proj",
]


def matched_modules(targets):
    base = common.load_base(common.FIXTURES / BASE)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=1, target_modules=targets))
    return sorted(model.base_model.targeted_module_names)


def make_rows(count, vocab):
    """Random rows of 6 to 28 tokens: an ignored prompt, a trained answer, now and then a gap in it."""
    generator = common.rng("sft", "rows")
    rows = []
    for index in range(count):
        length = int(generator.integers(6, 29))
        ids = generator.integers(3, vocab, length).tolist()
        prompt = 0 if index == 3 else int(generator.integers(1, min(length - 3, 10)))
        labels = [-100] * prompt + ids[prompt:]
        if index % 4 == 1:
            labels[prompt + 1] = -100
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def randomise(model, name):
    """Gives A and B, in the order of their names, values that matter beside the base weights."""
    generator = common.rng("sft", "adapter", name)
    for key, parameter in sorted(model.named_parameters()):
        if "magnitude" in key:
            parameter.data *= 1 + common.normal(generator, parameter.shape, 0.2)
        elif "modules_to_save" in key:
            parameter.data *= 1 + common.normal(generator, parameter.shape, 0.2)
        elif "lora_" in key:
            parameter.data = common.normal(generator, parameter.shape, 0.2)


def save_adapter(model, folder, base=BASE):
    """peft's own files, less the model card, sets in order and the base's path made relative."""
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        config = json.loads(pathlib.Path(scratch, "adapter_config.json").read_text())
        weights = load_file(pathlib.Path(scratch, "adapter_model.safetensors"))
    config["base_model_name_or_path"] = f"tests/fixtures/{base}"
    for key, value in config.items():
        config[key] = sorted(value) if isinstance(value, list) else value
    common.write_json(folder / "adapter_config.json", config)
    common.write_tensors(folder / "adapter_model.safetensors", weights)


def make_adapter(name, options):
    """A new adapter on the base, for inference."""
    base = common.load_base(common.FIXTURES / BASES.get(name, BASE))
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    randomise(model, name)
    return model


def write_adapter(name, options, folder):
    model, base = make_adapter(name, options), BASES.get(name, BASE)
    save_adapter(model, folder, base)
    ids = load_file(common.FIXTURES / base / "ids.safetensors")["ids"]
    common.write_tensors(folder / "logits.safetensors", {"logits": common.logits_of(model, ids)})


def collate(rows):
    """Pads on the right to the longest row."""
    length = max(len(row["input_ids"]) for row in rows)

    def padded(values, fill):
        return torch.tensor([value + [fill] * (length - len(value)) for value in values])

    return {
        "input_ids": padded([row["input_ids"] for row in rows], 0),
        "labels": padded([row["labels"] for row in rows], -100),
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
    }


class InOrderTrainer(Trainer):
    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


class Recorder(TrainerCallback):
    def __init__(self):
        self.steps = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            keys = ("loss", "grad_norm", "learning_rate")
            self.steps.append({"step": state.global_step, **{key: float(logs[key]) for key in keys}})


def training_arguments(options, scratch):
    ours = ("max_length", "rows", "loraplus_lr_ratio")
    passed = {key: value for key, value in options.items() if key not in ours}
    return TrainingArguments(
        output_dir=scratch, use_cpu=True, report_to="none", save_strategy="no", logging_steps=1,
        disable_tqdm=True, remove_unused_columns=False, seed=0, dataloader_pin_memory=False,
        logging_nan_inf_filter=False, **passed,
    )


def train(adapter, options, rows, base=None):
    """As train_model, of an adapter on a loaded model, by default of BASE."""
    base = base or common.load_base(common.FIXTURES / BASE)
    return train_model(PeftModel.from_pretrained(base, adapter, is_trainable=True), options, rows)


def train_model(model, options, rows):
    """Returns what each step gave, and the model."""
    length = options["max_length"]
    data = [{key: values[:length] for key, values in row.items()} for row in rows]
    recorder = Recorder()
    optimizer = None
    if ratio := options.get("loraplus_lr_ratio"):
        optimizer = create_loraplus_optimizer(
            model, torch.optim.AdamW, lr=options["learning_rate"], loraplus_lr_ratio=ratio,
            loraplus_weight_decay=options["weight_decay"], eps=options["adam_epsilon"],
            betas=(options["adam_beta1"], options["adam_beta2"]))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = InOrderTrainer(
            model=model, args=training_arguments(options, scratch), train_dataset=data,
            data_collator=collate, callbacks=[recorder], optimizers=(optimizer, None),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return recorder.steps, model.eval()


def write_run(folder, name, adapter, changes, rows):
    options = {**DEFAULTS, **changes}
    base = BASES.get(adapter, BASE)
    loaded = common.load_base(common.FIXTURES / base)
    steps, model = train(folder / "adapters" / adapter, options, rows[: options.get("rows")], loaded)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        weights = load_file(pathlib.Path(scratch, "adapter_model.safetensors"))
    common.write_tensors(folder / "runs" / name / "adapter_model.safetensors", weights)
    # A row file of its own, where a run takes fewer rows.
    data = "rows.jsonl"
    if limit := options.pop("rows", None):
        data = f"rows_{limit}.jsonl"
        write_rows(folder / data, rows[:limit])
    return {
        "name": name, "base": base, "init_adapter": f"sft/adapters/{adapter}", "data": f"sft/{data}",
        "options": options, "adapter_out": f"sft/runs/{name}/adapter_model.safetensors",
        "steps": steps,
    }


def pissa_run(rows):
    """Of factors from an SVD, whose signs are free: only what steps give can be compared."""
    lora = {"target_modules": ["k_proj", "v_proj"], "r": 6, "lora_alpha": 9, "init_lora_weights": "pissa"}
    options = {**DEFAULTS, "weight_decay": 0.01}
    base = common.load_base(common.FIXTURES / BASE)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **lora))
    return {"base": BASE, "data": "sft/rows.jsonl", "lora": lora, "options": options,
            "steps": train_model(model, options, rows)[0]}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write():
    folder = common.FIXTURES / "sft"
    shutil.rmtree(folder, ignore_errors=True)
    for name, options in ADAPTERS.items():
        write_adapter(name, options, folder / "adapters" / name)
    common.write_json(folder / "targets.json", [[one, matched_modules(one)] for one in TARGETS])
    vocab = json.loads((common.FIXTURES / BASE / "config.json").read_text())["vocab_size"]
    rows = make_rows(20, vocab)
    write_rows(folder / "rows.jsonl", rows)
    runs = [write_run(folder, name, *run, rows) for name, run in RUNS.items()]
    common.write_json(folder / "runs.json", runs)
    common.write_json(folder / "pissa.json", pissa_run(rows))
