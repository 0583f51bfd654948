"""Random small functions of positions as people write them for torch, NumPy and JAX, as Python source."""

import random
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch

Q_LEN, KV_LEN, BATCH, HEADS = 23, 17, 3, 2
DTYPES = ("int8", "uint8", "int16", "int32", "int64")
MODULES = {"torch": torch, "numpy": np, "jax": jnp}
NAMES = {"torch": "torch", "numpy": "np", "jax": "jnp"}
MAKE = {"torch": torch.from_numpy, "numpy": lambda array: array, "jax": jnp.asarray}


@dataclass
class Written:
    """A function, its source, and whether it looks tables up."""

    function: Any
    source: str
    tables: bool


class Writer:
    """Draws the source of one function; ``module`` is the framework's name in it."""

    def __init__(self, seed, framework):
        self.random = random.Random(seed)
        self.framework = framework
        self.module = NAMES[framework]
        self.space = {self.module: MODULES[framework], "inf": float("inf")}

    def one_of(self, *choices):
        return self.random.choice(choices)

    def constant(self):
        return str(self.one_of(0, 1, 2, 3, 5, 8, 100, 127, 200, 300, -1, -4))

    def table(self, dtype, *sizes):
        name = f"t{len(self.space)}"
        low, high = self.one_of((0, 4), (0, 120), (-100, 100))
        numbers = np.random.default_rng(self.random.randrange(10**6)).integers(low, high, sizes)
        self.space[name] = MAKE[self.framework](numbers.astype(bool if dtype == "bool" else dtype))
        return name

    def look_up(self, dtype):
        side, size = self.one_of(("q", Q_LEN), ("k", KV_LEN))
        kind = self.random.randrange(6)
        if kind == 0:
            return f"{self.table(dtype, BATCH, size)}[b, {side}]"
        if kind == 1:
            return f"{self.table(dtype, BATCH, size)}[b][{side}]"
        if kind == 2:
            return f"{self.table(dtype, size // 4 + 1)}[{side} // 4]"
        if kind == 3:
            return f"{self.table(dtype, HEADS, size)}[h, {side}]"
        return f"{self.table(dtype, size)}[{side}]"

    def cast(self, number):
        dtype = self.one_of(*DTYPES)
        if self.framework == "torch":
            return f"({number}).to(torch.{dtype})"
        return f"({number}).astype({self.module}.{dtype})"

    def number(self, depth):
        if depth == 0:
            if self.random.random() < 0.4:
                return self.look_up(self.one_of(*DTYPES))
            return self.one_of("q", "k", "q", "k", "b", "h", self.constant())
        x, y = self.number(depth - 1), self.number(self.random.randrange(depth))
        kind = self.random.randrange(16)
        if kind < 7:
            return f"({x} {self.one_of('+', '-', '*', '-')} {y})"
        if kind < 9:
            return f"({x} {self.one_of('//', '%')} {self.one_of(2, 3, 7)})"
        if kind == 9:
            return f"({x} {self.one_of('<<', '>>')} {self.one_of(1, 2)})"
        if kind == 10:
            return f"({x}) ** 2"
        if kind == 11:
            return f"({x} & {self.one_of(1, 3, 7)})"
        if kind == 12:
            return f"{self.module}.where({self.truth(depth - 1)}, {x}, {y})"
        if kind == 13:
            return f"{self.module}.{self.one_of('minimum', 'maximum')}({x}, {y})"
        if kind == 14:
            return self.one_of(f"abs({x})", f"(-{x})", f"(~{x})", f"{self.module}.clip({x}, 0, 5)")
        return self.cast(x)

    def truth(self, depth):
        if depth == 0:
            return self.one_of("(q >= k)", "(k < 3)", "(q - k < 4)", self.look_up("bool"))
        kind = self.random.randrange(15)
        if kind < 5:
            return f"({self.number(depth)} {self.one_of('<', '<=', '==', '!=', '>', '>=')} {self.number(depth - 1)})"
        x, y = self.truth(depth - 1), self.truth(depth - 1)
        if kind < 8:
            return f"({x} {self.one_of('&', '|', '^', '&', '+', '*', '==', '<=')} {y})"
        if kind == 8:
            return f"(~{x})"
        if kind == 9:
            return f"({self.module}.where({x}, 0.0, -inf) {self.one_of('== 0', '> -1', '!= -inf')})"
        if kind == 10:
            quotient = f"{self.number(depth - 1)} / {self.one_of(2, 4, 3)}"
            return f"({quotient} {self.one_of('<', '<=', '>')} {self.one_of(1, 2.5, 3)})"
        if kind == 11:
            return f"{self.module}.logical_{self.one_of('and', 'or', 'xor')}({x}, {y})"
        if kind == 12:
            return f"{self.module}.where({self.truth(depth - 1)}, {x}, {y})"
        if kind == 13:
            return f"(0 <= {self.number(depth - 1)} < {self.constant()})"
        return self.one_of(f"({x} and {y})", f"({x} or {y})", f"({x} if {y} else {self.truth(0)})", f"(not {x})")


def written(seed, framework):
    """The function of a seed."""
    writer = Writer(seed, framework)
    source = f"lambda b, h, q, k: {writer.truth(writer.random.randrange(1, 5))}"
    return Written(
        eval(source, writer.space), source, any(name.startswith("t") and name[1:].isdigit() for name in writer.space)
    )
