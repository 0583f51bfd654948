"""Plain functions of torch, NumPy and JAX arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from tests.verify.zoo.blocks import DIM, FUTURE, Leaking, Right, future, states

TORCH = states()
ARRAY = TORCH.numpy().astype(np.float64)
JAX = jnp.asarray(TORCH.numpy())


def whitened(x):
    return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)


def whitened_by_token(x):
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def jax_attention(hidden):
    def attend(x):
        scores = jnp.where(jnp.asarray(hidden(x.shape[1]).numpy()), -jnp.inf, x @ x.mT / DIM**0.5)
        return jax.nn.softmax(scores) @ x

    return attend


def torch_attention(hidden):
    return lambda x: (x @ x.mT).masked_fill(hidden(x.shape[1]), -torch.inf).softmax(-1) @ x


def jax_sum(reverse):
    return lambda x: jax.lax.cumsum(x, axis=1, reverse=reverse)


def entry(name, about, broken, repaired, inputs, pairs=((0, 1),)):
    return Leaking(name, about, lambda: broken, lambda: repaired, inputs, pairs=pairs, module=None)


LEAKING = [
    entry("NumPy: whitened", "mean and spread over time", whitened, whitened_by_token, ARRAY),
    entry(
        "NumPy: ranks",
        "places in the sorted sequence",
        lambda x: x.argsort(1).argsort(1) * 1.0,
        lambda x: x.argsort(-1).argsort(-1) * 1.0,
        ARRAY,
        FUTURE,
    ),
    entry(
        "NumPy: difference to the next",
        "np.diff aligned with the earlier value",
        lambda x: np.diff(x, axis=1, append=0),
        lambda x: np.diff(x, axis=1, prepend=0),
        ARRAY,
    ),
    entry(
        "JAX: one ahead",
        "the diagonal is off by one",
        jax_attention(lambda n: future(n, 2)),
        jax_attention(future),
        JAX,
    ),
    entry("JAX: sum from the right", "a cumulative sum in reverse", jax_sum(True), jax_sum(False), JAX),
    entry(
        "torch: one ahead",
        "a function without modules",
        torch_attention(lambda n: future(n, 2)),
        torch_attention(future),
        TORCH,
    ),
    entry(
        "torch: median",
        "the median over time, detached",
        lambda x: x - x.detach().median(1, keepdim=True).values,
        lambda x: x - x.detach().cummax(1).values,
        TORCH,
        FUTURE,
    ),
]

RIGHT = [
    Right("NumPy: cumulative sum", "a function of arrays", lambda: lambda x: np.cumsum(x, axis=1), ARRAY),
    Right("JAX: cumulative sum", "a sum so far", lambda: jax_sum(False), JAX),
    Right("torch: cumulative product", "a function without modules", lambda: lambda x: x.tanh().cumprod(1), TORCH),
]
