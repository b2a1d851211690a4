#!/usr/bin/env python3
"""Loads what `sophia export` writes in llama.cpp and compares the greedy answers.

Needs a Python with llama-cpp-python, which PyPI has as source alone and which takes a compiler and some minutes:
    python3 -m venv .deps/venv-llama-cpp && .deps/venv-llama-cpp/bin/pip install llama-cpp-python==0.3.36
    .deps/venv-llama-cpp/bin/python tools/oracle/check_llama_cpp.py --adapter build/demo/adapter

A merged f16 model, and the base model with the adapter's own GGUF file, must answer word for word as `sophia generate`
does in f32. The smaller formats must load and answer.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from llama_cpp import Llama

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMATS = ("f16", "bf16", "q8_0", "q4_0", "q4_k_m")
TOKENS = 24


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sophia", type=pathlib.Path, default=ROOT / "build" / "sophia")
    parser.add_argument("--model", type=pathlib.Path,
                        default=ROOT / ".deps" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--adapter", type=pathlib.Path, required=True)
    parser.add_argument("--prompt", default="gotta give ben umbrella sundy @ 530pm")
    return parser.parse_args()


def answer(path, prompt, adapter=None):
    model = Llama(model_path=str(path), lora_path=str(adapter) if adapter else None, n_ctx=512, verbose=False)
    chat = model.create_chat_completion([{"role": "user", "content": prompt}], max_tokens=TOKENS, temperature=0)
    return chat["choices"][0]["message"]["content"]


def main():
    args = parse_flags()

    def sophia(*arguments):
        command = [str(args.sophia), *map(str, arguments), "--model", str(args.model), "--adapter", str(args.adapter)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    failures = 0

    def report(name, text, is_right):
        nonlocal failures
        failures += not is_right
        print(f"{'ok' if is_right else 'FAILED':6} {name}: {text!r}")

    expected = sophia("generate", "--prompt", args.prompt, "--max-new-tokens", TOKENS, "--dtype", "f32").rstrip("\n")
    print(f"ours   {expected!r}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in FORMATS:
            path = pathlib.Path(scratch, f"{name}.gguf")
            sophia("export", "--quantization", name, "--out", path)
            text = answer(path, args.prompt)
            report(name, text, text == expected if name == "f16" else bool(text.strip()))
        adapter = pathlib.Path(scratch, "adapter.gguf")
        sophia("export", "--adapter-only", "--out", adapter)
        text = answer(args.model, args.prompt, adapter)
        report("adapter", text, text == expected)
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
