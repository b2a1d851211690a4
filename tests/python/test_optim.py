"""Optimisers and schedules against Optax and the formulas of torch and transformers.

One table of optimisers and one of schedules; the program optim_dump runs all cases at once.
"""

import json
import math
import os
import pathlib
import subprocess

import jax
import ml_dtypes
import numpy as np
import optax
import pytest

jax.config.update("jax_enable_x64", True)

BUILD = pathlib.Path(os.environ.get("SOPHIA_BUILD_DIR", "build"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = ROOT / ".deps" / "plugins" / "pjrt_cpu.so"

LR, WARMUP, TOTAL, STEPS = 0.03, 3, 9, 10
DIMS = [[3, 5], [], [7]]
DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}


# transformers.optimization's multipliers by (step, warm-up, total).
def warmed_up(step, warmup, after):
    return step / max(1, warmup) if step < warmup else after


def linear(step, warmup, total):
    return warmed_up(step, warmup, max(0.0, (total - step) / max(1, total - warmup)))


def cosine(step, warmup, total):
    progress = (step - warmup) / max(1, total - warmup)
    return warmed_up(step, warmup, max(0.0, 0.5 * (1 + math.cos(math.pi * progress))))


def optax_linear():
    up = optax.linear_schedule(0.0, LR, WARMUP)
    return optax.join_schedules([up, optax.linear_schedule(LR, 0.0, TOTAL - WARMUP)], [WARMUP])


# name: (multiplier, Optax's schedule)
SCHEDULES = {
    "constant": (lambda step, warmup, total: 1.0, lambda: optax.constant_schedule(LR)),
    "constant_with_warmup": (
        lambda step, warmup, total: warmed_up(step, warmup, 1.0),
        lambda: optax.warmup_constant_schedule(0.0, LR, WARMUP),
    ),
    "linear": (linear, optax_linear),
    "cosine": (
        cosine,
        lambda: optax.warmup_cosine_decay_schedule(0.0, LR, WARMUP, TOTAL),
    ),
}


def optax_adamw(rate, o):
    return optax.adamw(rate, o["b1"], o["b2"], o["eps"], weight_decay=o.get("weight_decay", 0.0))


def optax_sgd(rate, o):
    steps = [optax.add_decayed_weights(o.get("weight_decay", 0.0))]
    return optax.chain(*steps, optax.sgd(rate))


def adamw(o, p, g, state, lr, step):
    """One step of torch.optim.AdamW; state is (exp_avg, exp_avg_sq)."""
    m, v = state if state else (np.zeros_like(p), np.zeros_like(p))
    p = p * (1 - lr * o.get("weight_decay", 0.0))
    m = m + (g - m) * (1 - o["b1"])
    v = v * o["b2"] + g * g * (1 - o["b2"])
    denominator = np.sqrt(v) / math.sqrt(1 - o["b2"] ** (step + 1)) + o["eps"]
    return p - lr / (1 - o["b1"] ** (step + 1)) * m / denominator, (m, v)


def sgd(o, p, g, state, lr, step):
    """One step of torch.optim.SGD without momentum, which has no state."""
    return p - lr * (g + o.get("weight_decay", 0.0) * p), ()


FAMILIES = {"adamw": (optax_adamw, adamw), "sgd": (optax_sgd, sgd)}
ADAM = {"name": "adamw", "b1": 0.9, "b2": 0.999, "eps": 1e-8}
SGD = {"name": "sgd"}
# name: (options, schedule, parameters' dtype, gradients' scale)
CASES = {
    "adam": (ADAM, "cosine", "f32", 1.0),
    "adam_large_eps": ({**ADAM, "b1": 0.8, "b2": 0.95, "eps": 0.1}, "cosine", "f32", 1.0),
    "adamw_constant": ({**ADAM, "weight_decay": 0.1}, "constant", "f32", 1.0),
    "adamw_warmup": ({**ADAM, "weight_decay": 0.1}, "constant_with_warmup", "f32", 1.0),
    "adamw_linear": ({**ADAM, "weight_decay": 0.1}, "linear", "f32", 1.0),
    "adamw_cosine": ({**ADAM, "weight_decay": 0.1}, "cosine", "f32", 1.0),
    "adamw_bf16": ({**ADAM, "weight_decay": 0.1}, "linear", "bf16", 1.0),
    "adamw_clipped": ({**ADAM, "weight_decay": 0.1, "max_norm": 1.0}, "cosine", "f32", 1.0),
    "sgd": (SGD, "linear", "f32", 1.0),
    "sgd_decay": ({**SGD, "weight_decay": 0.2}, "linear", "f32", 1.0),
    "sgd_bf16": (SGD, "constant", "bf16", 1.0),
    "sgd_clipped": ({**SGD, "max_norm": 1.0}, "constant", "f32", 1.0),
    "sgd_unclipped": ({**SGD, "max_norm": 100.0}, "constant", "f32", 1.0),
    # A norm near clip_grad_norm_'s 1e-6, which then shows.
    "sgd_clip_tiny": ({**SGD, "max_norm": 3e-7}, "constant", "f32", 1e-7),
}


def draw(name):
    """Initial parameters and gradients [step][parameter] of a case, as float64."""
    random = np.random.default_rng(sorted(CASES).index(name))
    _, _, dtype, scale = CASES[name]
    initial = [random.normal(size=d).astype(DTYPES[dtype]).astype(np.float64) for d in DIMS]
    grads = [[(scale * random.normal(size=d)).astype(np.float32).astype(np.float64) for d in DIMS]
             for _ in range(STEPS)]
    return initial, grads


def norm_of(tensors):
    return math.sqrt(sum(float(np.sum(t * t)) for t in tensors))


def clipped(options, grads):
    """clip_grad_norm_'s gradients."""
    if not options.get("max_norm"):
        return grads
    factor = min(1.0, options["max_norm"] / (norm_of(grads) + 1e-6))
    return [factor * g for g in grads]


@pytest.fixture(scope="module")
def results():
    cases = []
    for name, (options, schedule, dtype, _) in CASES.items():
        initial, grads = draw(name)
        rate = {"kind": schedule, "learning_rate": LR, "warmup_steps": WARMUP,
                "total_steps": TOTAL}
        cases.append({
            "optimizer": options, "schedule": rate, "dtype": dtype, "dims": DIMS,
            "initial": [p.ravel().tolist() for p in initial],
            "grads": [[g.ravel().tolist() for g in step] for step in grads],
        })
    done = subprocess.run([BUILD / "tests" / "optim_dump", PLUGIN], input=json.dumps(cases),
                          text=True, stdout=subprocess.PIPE, check=True)
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


class Closeness:
    """Compares a list of tensors step by step.

    The bound is relative to the largest value that the tensor has had, which sets f32's rounding
    even where later terms cancel.
    """

    def __init__(self):
        self.largest = {}

    def check(self, got, expected, where):
        for i, (values, reference) in enumerate(zip(got, expected, strict=True)):
            self.largest[i] = max(self.largest.get(i, 0.0), float(np.abs(reference).max()))
            error = np.abs(np.reshape(values, reference.shape) - reference).max()
            assert error <= 1e-6 * self.largest[i], where


@pytest.mark.parametrize("name", CASES)
def test_rates_and_norms(results, name):
    multiplier, schedule = SCHEDULES[CASES[name][1]]
    schedule = schedule()
    _, grads = draw(name)
    for step, got in enumerate(results[name]):
        rate = LR * multiplier(step, WARMUP, TOTAL)
        assert got["learning_rate"] == pytest.approx(rate, rel=1e-6, abs=1e-17)
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-6, abs=1e-8)
        assert got["grad_norm"] == pytest.approx(norm_of(grads[step]), rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_steps_equal_torch(results, name):
    options, schedule, dtype, _ = CASES[name]
    params, grads = draw(name)
    states = [() for _ in params]
    close, state_close = Closeness(), Closeness()
    for step, got in enumerate(results[name]):
        lr = LR * SCHEDULES[schedule][0](step, WARMUP, TOTAL)
        for i, g in enumerate(clipped(options, grads[step])):
            p, states[i] = FAMILIES[options["name"]][1](options, params[i], g, states[i], lr, step)
            params[i] = p.astype(DTYPES[dtype]).astype(np.float64) if dtype == "bf16" else p
        close.check(got["params"], params, f"step {step}")
        kept = [s for group in zip(*states, strict=True) for s in group]
        state_close.check(got["state"], kept, f"state after step {step}")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] == "f32"])
def test_steps_equal_optax(results, name):
    options, schedule, _, _ = CASES[name]
    params, grads = draw(name)
    transform = FAMILIES[options["name"]][0](SCHEDULES[schedule][1](), options)
    state = transform.init(params)
    close = Closeness()
    for step, got in enumerate(results[name]):
        updates, state = transform.update(clipped(options, grads[step]), state, params)
        params = [np.asarray(p) for p in optax.apply_updates(params, updates)]
        close.check(got["params"], params, f"step {step}")
