"""JAX's side of tests/opcheck/layers.cc."""
import jax
import jax.numpy as jnp
import numpy as np
import optax


def attend(visible):
    """Plain softmax attention, with the key heads repeated for their queries.

    visible(queries, keys): bool [queries, keys], or with the batch in front.
    """
    def function(q, k, v):
        group = q.shape[2] // k.shape[2]
        k, v = jnp.repeat(k, group, axis=2), jnp.repeat(v, group, axis=2)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[3] ** -0.5
        mask = jnp.reshape(visible(*scores.shape[2:]), (-1, 1, *scores.shape[2:]))
        scores = jnp.where(mask, scores, -jnp.inf)
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), v)
    return function


def causal(queries, keys):
    return np.tril(np.ones((queries, keys), bool))


def everything(queries, keys):
    return np.ones((queries, keys), bool)


def at_positions(queries, keys):
    return np.arange(keys) <= np.array([[1, 2], [3, 4]])[..., None]


def attend_twice(q, k, v):
    once = attend(at_positions)
    return once(once(q, k, v), k, v)


def linear_cross_entropy(hidden):
    head = np.array([(i * 7 % 13 - 6) / 8 for i in range(44)], np.float32).reshape(11, 4)
    labels = np.array([3, -100, 0, 10, 5, -100, 7])
    log_probabilities = jax.nn.log_softmax(hidden @ head.T, axis=-1)
    picked = log_probabilities[np.arange(7), np.maximum(labels, 0)]
    return jnp.where(labels >= 0, -picked, 0)


def rope(x):
    half = x.shape[-1] // 2
    positions = np.array([[0, 1, 2], [5, 6, 7]], np.float32)
    frequencies = np.float32(100.0 ** (-np.arange(half) / half))
    angles = (positions[..., None] * frequencies)[:, :, None, :]
    rotated = (x[..., :half] + 1j * x[..., half:]) * jnp.exp(1j * angles)
    return jnp.concatenate([rotated.real, rotated.imag], axis=-1)


def isomorphism(x, y):
    """Of the tokens that count alone; distances from differences, not from inner products."""
    counted = np.array([0, 1, 3, 4, 5, 6])
    pairs = 1 - np.eye(len(counted), dtype=np.float32)

    def distances(states):
        apart = states[:, None] - states[None]
        squares = jnp.sum(apart * apart, -1)
        size = jnp.where(pairs > 0, jnp.sqrt(jnp.where(pairs > 0, squares, 1)), 0)
        return size / (size.sum() / pairs.sum())

    def of_layer(x, y):
        x, y = x[counted], y[counted]
        a, b = x - x.mean(0), y - y.mean(0)
        cka = jnp.sum((a.T @ b) ** 2) / jnp.linalg.norm(a.T @ a) / jnp.linalg.norm(b.T @ b)
        loss = optax.huber_loss(distances(x), distances(y), delta=1.0)
        return cka, jnp.sum(loss * pairs) / pairs.sum()

    return jax.vmap(of_layer)(x, y)


LAYERS = {
    "nn/isomorphism": isomorphism,
    "nn/attend": attend(causal),
    "nn/attend/grouped": attend(causal),
    "nn/attend/bidirectional": attend(everything),
    "nn/attend/positions": attend_twice,
    "nn/linear_cross_entropy": linear_cross_entropy,
    "nn/rope": rope,
}
