"""JAX's side of tests/opcheck/programs.cc and transformer.cc."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from opcheck_rows import Rows

ROWS = Rows()
rows = ROWS.add


def step(x, w):
    product = jnp.sin(x * w)
    return jnp.tanh(product + x) * product


def scan_of(function, x, stack):
    def body(carry, w):
        after = function(carry, w)
        return after, after * carry

    return lax.scan(body, x, stack)


def policies(name, function):
    rows([f"program/{name}/{policy}" for policy in ("everything", "nothing", "named")], function)


def grad_of(function):
    return jax.grad(function, argnums=(0, 1))


def cubic(x, w):
    return jnp.sum(jnp.sin(x) * x * x * w)


def scanned(x, stack):
    carry, ys = scan_of(step, x, stack)
    return jnp.sum(carry * carry) + jnp.sum(ys)


def recomputed(x, stack):
    carry, ys = scan_of(step, x, stack)
    return jnp.sum(carry * ys)


rows(["program/second_derivative"], grad_of(cubic))
rows(["program/third_derivative"], grad_of(lambda x, w: jnp.sum(jax.grad(cubic)(x, w) * x)))
rows(["program/second_derivative/scan"], grad_of(scanned))
rows(["program/second_derivative/remat"], grad_of(recomputed))
rows(["program/second_derivative/custom_vjp"],
     grad_of(lambda x, w: jnp.sum((jnp.sin(x) * w) ** 2)))
rows(["program/second_derivative/custom_vjp_scan"],
     grad_of(lambda x, stack: jnp.sum(
         scan_of(lambda h, w: (jnp.sin(h) * w) ** 2, x, stack)[0])))
rows(["program/second_derivative/checkpoint"],
     grad_of(lambda x, w: jnp.sum(step(step(x, w), w))))
rows(["program/second_derivative/stop_gradient"],
     grad_of(lambda x, w: jnp.sum(lax.stop_gradient(x * x) * x * w)))


def step_twice(x, w):
    return step(step(step(x, w), w), x)


policies("checkpoint", lambda x, w: [step(step(x, w) * w, w), step(x, w)])
policies("nested_checkpoint", lambda x, w: step_twice(step_twice(x, w), w))
policies("scan_in_checkpoint",
         lambda x, stack: scan_of(lambda h, w: step(h * jnp.sin(x), w), x, stack))
policies("checkpoint_in_scan",
         lambda x, stack: scan_of(lambda h, w: step(jnp.exp(step(h, w)), w), x, stack))
policies("custom_vjp_in_scan",
         lambda x, stack: scan_of(lambda h, w: step(jnp.sin(h) * w, w), x, stack))


@lambda function: policies("case_in_scan", function)
def _(x, stack):
    def body(carry, w):
        h = step(carry, w)
        return jnp.where(jnp.sum(w) > 0, jnp.sin(h) * w, h * carry), h

    return lax.scan(body, x, stack)


@lambda function: policies("call_in_scan", function)
def _(x, stack):
    def body(carry, w):
        once = step(carry, w)
        return step(once, w), once

    return lax.scan(body, x, stack)


@lambda function: policies("nested_scan", function)
def _(x, stacks):
    def body(carry, stack):
        after, ys = scan_of(lambda h, w: step(h * jnp.sin(carry), w), carry, stack)
        return after, jnp.sum(ys, 0)

    return lax.scan(body, x, stacks)


rows(["program/scan/xs_only"], lambda x, stack: jax.vmap(lambda w: step(w, x))(stack))
rows(["program/scan/carry_only"],
     lambda x: lax.fori_loop(0, 5, lambda _, carry: jnp.sin(carry) * 1.5, x))
rows(["program/scan/invariant_carry"],
     lambda x, w, stack: (lax.scan(lambda h, y: (step(h, w) + y, None), x, stack)[0], w,
                          jnp.broadcast_to(jnp.sin(w), (4, 3))))


@lambda function: rows(["program/scan/integer_carry"], function)
def _(x, stack):
    for i in range(4):
        x = jnp.sin(x) * stack[i] + i
    return [x, jnp.int32(4), jnp.arange(4, dtype=jnp.int32)]


@lambda function: rows(["program/grad_accumulation"], function)
def _(w, stack):
    losses, grads = jax.vmap(
        lambda x: jax.value_and_grad(lambda w: jnp.sum(step(w, x) * w))(w))(stack)
    return [jnp.sum(grads, 0), losses]


def rms_norm(x, weight):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * weight


def transformer_layer(x, norms, query, key, value, output, gate, up, down, a, b):
    def heads(y):
        return y.reshape(*y.shape[:2], 2, 4)

    h = rms_norm(x, norms[0])
    q = heads(h @ query + 2 * (h @ a) @ b)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, heads(h @ key)) / 2
    scores = jnp.where(np.tril(np.ones((4, 4), bool)), scores, -1e9)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), heads(h @ value))
    x = x + mixed.reshape(x.shape) @ output
    h = rms_norm(x, norms[1])
    return x + (jax.nn.silu(h @ gate) * (h @ up)) @ down


@lambda function: policies("transformer", function)
def _(embed, *layers):
    tokens = np.array([[3, 1, 4, 1], [5, 9, 2, 6]])
    targets = np.array([[1, 4, 1, 5], [9, 2, 6, 10]])

    def loss(a, b):
        x = embed[tokens]
        for i in range(2):
            x = transformer_layer(x, *(w[i] for w in layers[:-2]), a[i], b[i])
        chosen = jax.nn.log_softmax(x @ embed.T)
        return -jnp.mean(jnp.take_along_axis(chosen, targets[..., None], -1))

    return jax.value_and_grad(loss, argnums=(0, 1))(*layers[-2:])
