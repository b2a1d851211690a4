#!/usr/bin/env python3
"""Steps of LoRA fine-tuning of SmolLM2-135M (random weights) by torch, transformers and peft."""

import os

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

import step_timer as timer


def make_model(dtype):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=timer.VOCAB, hidden_size=timer.D_MODEL, intermediate_size=timer.D_FF,
        num_hidden_layers=timer.LAYERS, num_attention_heads=timer.HEADS,
        num_key_value_heads=timer.KV_HEADS, max_position_embeddings=8192,
        rms_norm_eps=timer.NORM_EPS, tie_word_embeddings=True, use_cache=False,
        rope_parameters={"rope_type": "default", "rope_theta": timer.ROPE_THETA},
    )
    base = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    lora = LoraConfig(
        r=timer.RANK, lora_alpha=timer.ALPHA, lora_dropout=0.0, target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, lora).train()


def compile_layers(model):
    """Compiles the block, not the model: the layers share the code, which keeps compilation short."""
    for layer in model.get_base_model().model.layers:
        layer.compile()


def make_step(model, ids):
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=timer.LEARNING_RATE, weight_decay=0.0)

    def step():
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def main():
    args = timer.parse_flags(
        __doc__, compile={"action": "store_true", "help": "run the layers under torch.compile"}
    )
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    model = make_model({"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype])
    if args.compile:
        compile_layers(model)
    ids = torch.from_numpy(timer.random_ids(args)).long()
    timer.measure("torch-compile" if args.compile else "torch", args, make_step(model, ids))


if __name__ == "__main__":
    main()
