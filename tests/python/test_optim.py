"""Optimisers and schedules against Optax and the formulas of torch and transformers.

One table of optimisers and one of schedules; the program optim_dump runs all cases at once. Arrays
of three dimensions are stacks of matrices, which the references get one by one.
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
DIMS = [[3, 5], [], [7], [2, 6, 4]]
RATE_FACTORS = [1, 1, 4, 1.5]  # of LoRA+
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


def optax_adamw_mean_bf16(rate, o):
    return optax.adamw(rate, o["b1"], o["b2"], o["eps"], mu_dtype=ml_dtypes.bfloat16, weight_decay=o.get("weight_decay", 0.0))


def optax_sgd(rate, o):
    steps = [optax.add_decayed_weights(o.get("weight_decay", 0.0))]
    return optax.chain(*steps, optax.sgd(rate))


def optax_adafactor(rate, o):
    """As transformers has it: everything factored, decay times the rate."""
    steps = [optax.scale_by_factored_rms(min_dim_size_to_factor=1), optax.clip_by_block_rms(1.0),
             optax.add_decayed_weights(o.get("weight_decay", 0.0))]
    return optax.chain(*steps, optax.scale_by_learning_rate(rate))


def optax_lion(rate, o):
    return optax.lion(rate, o["b1"], o["b2"], weight_decay=o.get("weight_decay", 0.0))


def optax_muon(rate, o):
    """Weights [out, in], as torch has them."""
    decay = o.get("weight_decay", 0.0)
    torch_weights = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=0)
    return optax.contrib.muon(
        rate, weight_decay=decay, adam_weight_decay=decay, consistent_rms=o.get("consistent_rms"),
        muon_weight_dimension_numbers=lambda ps: [torch_weights if getattr(p, "ndim", 0) == 2 else None for p in ps])


def adamw(o, p, g, state, lr, step, _):
    """One step of torch.optim.AdamW."""
    m, v = state.get("mu", np.zeros_like(p)), state.get("nu", np.zeros_like(p))
    p = p * (1 - lr * o.get("weight_decay", 0.0))
    m = m + (g - m) * (1 - o["b1"])
    v = v * o["b2"] + g * g * (1 - o["b2"])
    denominator = np.sqrt(v) / math.sqrt(1 - o["b2"] ** (step + 1)) + o["eps"]
    return p - lr / (1 - o["b1"] ** (step + 1)) * m / denominator, {"mu": m, "nu": v}


def adamw_mean_bf16(o, p, g, state, lr, step, place):
    """The same, which keeps the first moment rounded."""
    p, state = adamw(o, p, g, state, lr, step, place)
    return p, state | {"mu": state["mu"].astype(ml_dtypes.bfloat16).astype(p.dtype)}


def sgd(o, p, g, state, lr, step, _):
    """One step of torch.optim.SGD without momentum, which has no state."""
    return p - lr * (g + o.get("weight_decay", 0.0) * p), {}


def adafactor(o, p, g, state, lr, step, _):
    """transformers.Adafactor(scale_parameter=False, relative_step=False)."""
    beta = 1 - (step + 1) ** -0.8
    square = g * g + 1e-30
    if p.ndim == 2:
        row = beta * state.get("nu_row", 0) + (1 - beta) * square.mean(-1)
        col = beta * state.get("nu_col", 0) + (1 - beta) * square.mean(-2)
        state = {"nu_row": row, "nu_col": col}
        update = g / np.sqrt(np.outer(row / row.mean(), col))
    else:
        state = {"nu": beta * state.get("nu", 0) + (1 - beta) * square}
        update = g / np.sqrt(state["nu"])
    update = update / max(1.0, math.sqrt((update * update).mean()))
    return p - lr * o.get("weight_decay", 0.0) * p - lr * update, state


def lion(o, p, g, state, lr, step, _):
    """Algorithm 2 of arXiv:2302.06675."""
    m = state.get("mu", np.zeros_like(p))
    update = np.sign(o["b1"] * m + (1 - o["b1"]) * g)
    p = p - lr * (update + o.get("weight_decay", 0.0) * p)
    return p, {"mu": o["b2"] * m + (1 - o["b2"]) * g}


def muon(o, p, g, state, lr, step, _):
    """Jordan's zeropower_via_newtonschulz5, with Optax's bias corrections; else Adam."""
    beta = 0.95 if p.ndim == 2 else 0.9
    m = beta * state.get("mu", 0) + (1 - beta) * g
    x = beta * m / (1 - beta ** (step + 2)) + (1 - beta) * g / (1 - beta ** (step + 1))
    state = {**state, "mu": m}
    if p.ndim == 2:
        x = x / (np.linalg.norm(x) + 1e-8)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        rows, columns = p.shape
        rms = o.get("consistent_rms")
        x *= rms * math.sqrt(max(rows, columns)) if rms else math.sqrt(max(1, rows / columns))
    else:
        state["nu"] = 0.999 * state.get("nu", 0) + 0.001 * g * g
        x = x / (np.sqrt(state["nu"] / (1 - 0.999 ** (step + 1))) + 1e-8)
    return p - lr * (x + o.get("weight_decay", 0.0) * p), state


def sophia(o, p, g, state, lr, step, curvature):
    """Algorithm 3 of arXiv:2305.14342, of which Optax is a variant: it corrects the mean's bias and
    takes the Hessian of the step before."""
    m = o["b1"] * state.get("mu", 0) + (1 - o["b1"]) * g
    h = state.get("h", 0)
    if step % o["update_interval"] == 0:
        h = o["b2"] * h + (1 - o["b2"]) * curvature
    update = np.clip(m / np.maximum(o["gamma"] * h, o["eps"]), -1, 1)
    return p - lr * o.get("weight_decay", 0.0) * p - lr * update, {"mu": m, "h": h}


# name: (Optax's, one step of another formula, slots in order, bound relative to the largest value)
FAMILIES = {
    "adamw": (optax_adamw, adamw, ["mu", "nu"], 1e-6),
    # Optax also rounds the decayed moment before it adds the gradient.
    "adamw_mean_bf16": (optax_adamw_mean_bf16, adamw_mean_bf16, ["mu", "nu"], 8e-3),
    "sgd": (optax_sgd, sgd, [], 1e-6),
    "adafactor": (optax_adafactor, adafactor, ["nu_row", "nu_col", "nu"], 1e-6),
    "lion": (optax_lion, lion, ["mu"], 1e-6),
    # The iteration magnifies rounding where singular values are small.
    "muon": (optax_muon, muon, ["mu", "nu"], 1e-5),
    "sophia": (None, sophia, ["mu", "h"], 1e-6),
}
ADAM = {"name": "adamw", "b1": 0.9, "b2": 0.999, "eps": 1e-8}
SGD = {"name": "sgd"}
LION = {"name": "lion", "b1": 0.9, "b2": 0.99}
SOPHIA = {"name": "sophia", "b1": 0.96, "b2": 0.99, "eps": 1e-12, "gamma": 0.05}
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
    "adamw_mean_bf16": ({**ADAM, "name": "adamw_mean_bf16", "weight_decay": 0.1}, "cosine", "f32", 1.0),
    "sgd": (SGD, "linear", "f32", 1.0),
    "sgd_decay": ({**SGD, "weight_decay": 0.2}, "linear", "f32", 1.0),
    "sgd_bf16": (SGD, "constant", "bf16", 1.0),
    "sgd_clipped": ({**SGD, "max_norm": 1.0}, "constant", "f32", 1.0),
    "sgd_unclipped": ({**SGD, "max_norm": 100.0}, "constant", "f32", 1.0),
    "adafactor": ({"name": "adafactor"}, "cosine", "f32", 1.0),
    "adafactor_decay": ({"name": "adafactor", "weight_decay": 0.1}, "linear", "f32", 1.0),
    "adafactor_bf16": ({"name": "adafactor", "max_norm": 1.0}, "constant", "bf16", 1.0),
    "lion": ({**LION, "weight_decay": 0.3}, "cosine", "f32", 1.0),
    "lion_clipped": ({**LION, "b1": 0.95, "b2": 0.98, "max_norm": 1.0}, "linear", "f32", 1.0),
    "muon": ({"name": "muon", "weight_decay": 0.1}, "cosine", "f32", 1.0),
    "muon_rms": ({"name": "muon", "consistent_rms": 0.2, "max_norm": 1.0}, "linear", "f32", 1.0),
    "sophia": ({**SOPHIA, "update_interval": 3}, "cosine", "f32", 1.0),
    "sophia_decay": ({**SOPHIA, "gamma": 2.0, "b1": 0.9, "b2": 0.8, "update_interval": 1,
                      "weight_decay": 0.2, "max_norm": 2.0}, "linear", "f32", 1.0),
    # A norm near clip_grad_norm_'s 1e-6, which then shows.
    "sgd_clip_tiny": ({**SGD, "max_norm": 3e-7}, "constant", "f32", 1e-7),
}


def draw(name):
    """Initial parameters, gradients and curvatures [step][parameter] of a case, as float64."""
    random = np.random.default_rng(sorted(CASES).index(name))
    _, _, dtype, scale = CASES[name]
    initial = [random.normal(size=d).astype(DTYPES[dtype]).astype(np.float64) for d in DIMS]
    steps = [[[(size * random.normal(size=d)).astype(np.float32).astype(np.float64) for d in DIMS]
              for _ in range(STEPS)] for size in (scale, 20.0)]
    return initial, *steps


def unstacked(tensors):
    """The arrays of stacks one by one."""
    return [array for t in tensors for array in (t if np.ndim(t) == 3 else [np.asarray(t)])]


def factors():
    return [f for f, d in zip(RATE_FACTORS, DIMS, strict=True) for _ in range(d[0] if len(d) == 3 else 1)]


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
        initial, grads, curvatures = draw(name)
        rate = {"kind": schedule, "learning_rate": LR, "warmup_steps": WARMUP,
                "total_steps": TOTAL}
        cases.append({
            "optimizer": options, "schedule": rate, "dtype": dtype, "dims": DIMS,
            "rate_factors": RATE_FACTORS,
            "initial": [p.ravel().tolist() for p in initial],
            "grads": [[g.ravel().tolist() for g in step] for step in grads],
        })
        if options["name"] == "sophia":
            cases[-1]["curvatures"] = [[h.ravel().tolist() for h in step] for step in curvatures]
    done = subprocess.run([BUILD / "tests" / "optim_dump", PLUGIN], input=json.dumps(cases),
                          text=True, stdout=subprocess.PIPE, check=True)
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


class Closeness:
    """Compares a list of tensors step by step.

    The bound is relative to the largest value that the tensor has had, which sets f32's rounding
    even where later terms cancel.
    """

    def __init__(self, bound=1e-6):
        self.largest = {}
        self.bound = bound

    def check(self, got, expected, where):
        for i, (values, reference) in enumerate(zip(got, expected, strict=True)):
            self.largest[i] = max(self.largest.get(i, 0.0), float(np.abs(reference).max()))
            error = np.abs(np.reshape(values, reference.shape) - reference).max()
            assert error <= self.bound * self.largest[i], where


@pytest.mark.parametrize("name", CASES)
def test_rates_and_norms(results, name):
    multiplier, schedule = SCHEDULES[CASES[name][1]]
    schedule = schedule()
    _, grads, _ = draw(name)
    for step, got in enumerate(results[name]):
        rate = LR * multiplier(step, WARMUP, TOTAL)
        assert got["learning_rate"] == pytest.approx(rate, rel=1e-6, abs=1e-17)
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-6, abs=1e-8)
        assert got["grad_norm"] == pytest.approx(norm_of(grads[step]), rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_steps_equal_formula(results, name):
    options, schedule, dtype, _ = CASES[name]
    _, formula, slots, bound = FAMILIES[options["name"]]
    params, grads, curvatures = draw(name)
    params = unstacked(params)
    states = [{} for _ in params]
    close, state_close = Closeness(bound), Closeness(bound)
    for step, got in enumerate(results[name]):
        lr = LR * SCHEDULES[schedule][0](step, WARMUP, TOTAL)
        given = unstacked(clipped(options, grads[step])), unstacked(curvatures[step]), factors()
        for i, (g, h, factor) in enumerate(zip(*given, strict=True)):
            p, states[i] = formula(options, params[i], g, states[i], lr * factor, step, h)
            params[i] = p.astype(DTYPES[dtype]).astype(np.float64) if dtype == "bf16" else p
        close.check(split(got["params"], DIMS), params, f"step {step}")
        kept = [state[slot] for slot in slots for state in states if slot in state]
        values = np.concatenate([np.ravel(s) for s in got["state"]]) if kept else np.zeros(0)
        assert len(values) == sum(k.size for k in kept)
        ends = np.cumsum([k.size for k in kept])[:-1]
        state_close.check(np.split(values, ends) if kept else [], kept, f"state after step {step}")


def split(values, dims):
    return unstacked([np.reshape(v, d) for v, d in zip(values, dims, strict=True)])


@pytest.mark.parametrize("name", [name for name, case in CASES.items()
                                  if case[2] == "f32" and FAMILIES[case[0]["name"]][0]])
def test_steps_equal_optax(results, name):
    options, schedule, _, _ = CASES[name]
    make, _, _, bound = FAMILIES[options["name"]]
    params, grads, _ = draw(name)
    params = unstacked(params)
    transform = make(SCHEDULES[schedule][1](), options)
    update, state = jax.jit(transform.update), transform.init(params)
    close = Closeness(bound)
    for step, got in enumerate(results[name]):
        updates, state = update(unstacked(clipped(options, grads[step])), state, params)
        updates = [u * f for u, f in zip(updates, factors(), strict=True)]
        params = [np.asarray(p) for p in optax.apply_updates(params, updates)]
        close.check(split(got["params"], DIMS), params, f"step {step}")
