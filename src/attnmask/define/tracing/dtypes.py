"""The number types that a traced value may have in its own framework, and when their arithmetic wraps around.

A dtype is a name: ``bool``, ``int8`` ... ``uint64``; ``weak`` for a number of Python, which takes the type of the
other operand; ``wide`` for what is computed with positions: 64 bits, or JAX's 32, which lengths of sequences fit.
"""

from __future__ import annotations

from typing import Any

LIMIT = 2**24  # positions are smaller; float32 holds all whole numbers up to here
RANGES = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
FLOATS = ("float32", "float64")
# What torch, NumPy and Python call them besides.
OTHER_NAMES = {
    "int": "int64",
    "long": "int64",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
    "float": "float32",
    "double": "float64",
    "bool_": "bool",
    "LongTensor": "int64",
    "IntTensor": "int32",
    "BoolTensor": "bool",
    "FloatTensor": "float32",
}


def dtype_name(dtype: Any) -> str:
    """The name of a dtype of any framework, or of a type of Python.

    >>> dtype_name(int), dtype_name("torch.LongTensor"), dtype_name("uint8")
    ('int64', 'int64', 'uint8')
    """
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    name = name.rpartition(".")[2]
    return OTHER_NAMES.get(name, name)


def promoted(left: str, right: str) -> str:
    """The dtype of what is computed from two numbers.

    >>> promoted("uint8", "int8"), promoted("uint8", "weak"), promoted("int32", "wide")
    ('int16', 'uint8', 'wide')
    """
    if left == right:
        return left
    for first, second in ((left, right), (right, left)):
        if first == "weak":
            return "wide" if second == "bool" else second
        if first == "bool":
            return second
        if second == "wide":
            _joined_with(first, "int64")  # refuses uint64, whose sum with a position is a float
            return "wide"
    return _joined_with(left, right)


def _joined_with(left: str, right: str) -> str:
    """The smallest signed or unsigned type that holds both."""
    low, high = (min(RANGES[left][0], RANGES[right][0]), max(RANGES[left][1], RANGES[right][1]))
    for name, (least, most) in RANGES.items():
        if least <= low and high <= most and name.startswith("u") == (low == 0):
            return name
    raise TypeError(f"{left} and {right} have no whole-number type in common: cast the table to int64 first")


def check_range(dtype: str, bounds: tuple[int, int]) -> None:
    """Refuse numbers that would wrap around in their type."""
    least, most = RANGES.get(dtype, bounds)
    if bounds[0] < least or bounds[1] > most:
        raise TypeError(
            f"{dtype} holds {least} to {most} and wraps around: numbers from {bounds[0]} to {bounds[1]} may occur; "
            "cast to int64 (.long(), .astype(int)) first"
        )
