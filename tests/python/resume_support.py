"""A tiny run with checkpoints, and how its folder is compared with another's."""

import json

STEPS = 12
# A constant rate: one program serves runs of any length.
TINY = {"batch-size": 2, "lora-r": 2, "lora-target-modules": "q_proj,v_proj", "lora-dropout": 0.1,
        "learning-rate": 0.01, "lr-scheduler-type": "constant", "max-steps": STEPS,
        "save-strategy": "steps", "save-steps": 4}
# What clock and machine say in metrics.jsonl.
CLOCK = {"tokens_per_second", "data_wait_seconds", "step_seconds", "flops_per_second",
         "device_memory_bytes", "host_memory_bytes", "eta_seconds"}

def rows(out):
    """metrics.jsonl without what clock and machine say."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = CLOCK | {"eval_runtime", "eval_samples_per_second"}
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]


def checkpoints(out):
    return sorted((path.name for path in out.glob("*checkpoint*")), key=lambda name: (len(name), name))


def assert_same_end(out, reference):
    last = checkpoints(reference)[-1]
    for name in ("adapter_model.safetensors", "adapter_config.json", f"{last}/optimizer.safetensors",
                 f"{last}/adapter_model.safetensors"):
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name
    assert rows(out) == rows(reference)
    assert not list(out.glob("*tmp*"))
