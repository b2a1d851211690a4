"""What transformers' Trainer says of evaluations: losses over given rows, and which checkpoint is best.

    evaluation/losses.json       for the base and some adapters of sft/: Trainer's eval_loss over all rows
                                 of sft/rows.jsonl in one batch, and sum and number of each row's token losses
    evaluation/best_model.json   runs of a Trainer with an EarlyStoppingCallback whose evaluations give
                                 `metrics`, one a step: after each evaluation the best step and metric
                                 and the callback's counter; the run ends where they do
    evaluation/geometry.json     pairs of models: for each layer, centred-kernel alignment from features and the
                                 loss of pairwise distances, at all trained tokens of sft/rows_5.jsonl
"""

import json
import tempfile

import numpy as np
import torch
from peft import PeftModel
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

import common
import sft

ADAPTERS = [None, "qv", "all_linear", "rslora"]

# name: patience, threshold, greater_is_better, metrics
BEST = {
    "falls": (2, 0.0, False, [5.0, 4.5, 4.25, 4.0]),
    "rises": (2, 0.0, False, [4.0, 4.5, 4.25, 4.125, 3.0]),
    "recovers": (2, 0.0, False, [4.0, 4.5, 3.5, 3.75, 3.625, 1.0]),
    "equal_is_not_better": (3, 0.0, False, [4.0, 4.0, 4.0, 4.0, 4.0]),
    "small_steps": (2, 0.25, False, [4.0, 3.875, 3.75, 3.625]),
    "at_the_threshold": (1, 0.25, False, [4.0, 3.75, 1.0]),
    "beyond_the_threshold": (1, 0.25, False, [4.0, 3.5, 3.0, 2.875, 1.0]),
    "greater": (2, 0.0, True, [1.0, 2.0, 1.5, 1.75, 3.0]),
    "greater_threshold": (2, 0.5, True, [1.0, 1.25, 2.0, 2.25, 2.5, 9.0]),
}


def rows():
    lines = (common.FIXTURES / "sft" / "rows.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def arguments(scratch, **more):
    return TrainingArguments(
        output_dir=scratch, use_cpu=True, report_to="none", disable_tqdm=True, remove_unused_columns=False,
        seed=0, dataloader_pin_memory=False, **more,
    )


def row_losses(model, data):
    losses = []
    for row in data:
        logits = common.logits_of(model, torch.tensor([row["input_ids"]]))[0].double()
        labels = torch.tensor(row["labels"])[1:]
        sums = torch.nn.functional.cross_entropy(logits[:-1], labels, ignore_index=-100, reduction="sum")
        losses.append({"sum": sums.item(), "tokens": int((labels != -100).sum())})
    return losses


def losses_of(adapter):
    data = rows()
    model = common.load_base(common.FIXTURES / sft.BASE)
    if adapter:
        model = PeftModel.from_pretrained(model, common.FIXTURES / "sft" / "adapters" / adapter).eval()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = sft.Trainer(model=model, args=arguments(scratch, per_device_eval_batch_size=len(data)),
                              eval_dataset=data, data_collator=sft.collate)
        trainer.remove_callback(sft.PrinterCallback)
        eval_loss = trainer.evaluate()["eval_loss"]
    return {"adapter": adapter and f"sft/adapters/{adapter}", "eval_loss": eval_loss,
            "rows": row_losses(model, data)}


# [base, adapter or None] of each pair
PAIRS = [(("llama/gqa", None), ("llama/gqa", "qv")), (("llama/gqa", "qv"), ("llama/gqa", "dora")),
         (("llama/gqa", None), ("llama/mha", None))]


def states_of(base, adapter):
    """What each layer gives, f64 [layers, tokens, width], where the next token is trained."""
    model = common.load_base(common.FIXTURES / base)
    layers = model.model.layers
    if adapter:
        model = PeftModel.from_pretrained(model, common.FIXTURES / "sft" / "adapters" / adapter).eval()
    seen = [[] for _ in layers]
    hooks = [layer.register_forward_hook(lambda _module, _in, out, seen=seen[i]: seen.append(
        out[0] if isinstance(out, tuple) else out)) for i, layer in enumerate(layers)]
    trained = []
    for line in (common.FIXTURES / "sft" / "rows_5.jsonl").read_text().splitlines():
        row = json.loads(line)
        common.logits_of(model, torch.tensor([row["input_ids"]]))
        trained.append([label != -100 for label in row["labels"][1:]])
    for hook in hooks:
        hook.remove()
    return [np.concatenate([np.asarray(states.reshape(-1, states.shape[-1])[:-1].double())[np.array(kept)]
                            for states, kept in zip(one, trained, strict=True)]) for one in seen]


def measures(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    cka = np.sum((x.T @ y) ** 2) / np.sqrt(np.sum((x.T @ x) ** 2) * np.sum((y.T @ y) ** 2))

    def relative(states):
        distances = np.linalg.norm(states[:, None] - states[None], axis=-1)
        return distances / (distances.sum() / (len(states) * (len(states) - 1)))

    difference = np.abs(relative(x) - relative(y))
    huber = np.where(difference <= 1, difference**2 / 2, difference - 0.5)
    return float(cka), float(huber.sum() / (len(x) * (len(x) - 1)))


def geometry_of(pair):
    first, second = (states_of(*one) for one in pair)
    cka, distance = zip(*(measures(x, y) for x, y in zip(first, second, strict=True)), strict=True)
    names = [adapter and f"sft/adapters/{adapter}" for _, adapter in pair]
    return {"model": pair[0][0], "first": names[0], "second": names[1] or pair[1][0], "tokens": len(first[0]),
            "cka": list(cka), "distance_loss": list(distance)}


class ScriptedTrainer(sft.Trainer):
    """A Trainer whose evaluations give the metrics of a list."""

    script = ()

    def evaluation_loop(self, *args, **kwargs):
        metrics = {"eval_loss": self.script[self.state.global_step - 1]}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=1)


class Recorder(TrainerCallback):
    def __init__(self, stopping):
        self.stopping = stopping
        self.after = []

    def on_save(self, args, state, control, **kwargs):
        self.after.append({"best_global_step": state.best_global_step, "best_metric": state.best_metric,
                           "counter": self.stopping.early_stopping_patience_counter})


def best_of(name, patience, threshold, greater, metrics):
    stopping = EarlyStoppingCallback(patience, threshold)
    recorder = Recorder(stopping)
    model = PeftModel.from_pretrained(common.load_base(common.FIXTURES / sft.BASE),
                                      common.FIXTURES / "sft" / "adapters" / "qv", is_trainable=True)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = ScriptedTrainer(
            model=model, train_dataset=rows(), eval_dataset=rows(), data_collator=sft.collate,
            callbacks=[stopping, recorder],
            args=arguments(scratch, max_steps=len(metrics), per_device_train_batch_size=1, eval_strategy="steps",
                           eval_steps=1, save_strategy="steps", save_steps=1, load_best_model_at_end=True,
                           metric_for_best_model="eval_loss", greater_is_better=greater))
        trainer.script = metrics
        trainer.remove_callback(sft.PrinterCallback)
        trainer.train()
    return {"name": name, "early_stopping_patience": patience, "early_stopping_threshold": threshold,
            "greater_is_better": greater, "metrics": metrics, "after": recorder.after}


def write():
    folder = common.FIXTURES / "evaluation"
    common.write_json(folder / "losses.json", [losses_of(adapter) for adapter in ADAPTERS])
    common.write_json(folder / "geometry.json", [geometry_of(pair) for pair in PAIRS])
    common.write_json(folder / "best_model.json", [best_of(name, *case) for name, case in BEST.items()])
