"""Derivatives by ids: the first floating-point numbers that a function makes of its ids take their place.

Nothing can be derived by an integer. But ids become numbers by a look-up in a table, or as one-hot vectors:

    ids (1, n)  ->  gather(table, ids) (1, n, dim)             ->  ...  ->  output
    ids (1, n)  ->  convert(ids == iota) (1, n, vocabulary)    ->  ...  ->  output
                    + zeros, by which the output is derived

A function is traced once, and its operations are done one by one, with zeros added there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Add = Callable[[Any], Any]  # adds something to the first floats that are made of ids


def with_zeros(function: Callable[[Any], Any], ids: Any, length: int) -> tuple[Callable[[list[Any]], Any], list[Any]]:
    """A function of what is added to the embeddings of ids, and the zeros (with one axis of this length) to add."""
    traced = jax.make_jaxpr(function)(ids)
    zeros: list[Any] = []

    def note(value: Any) -> Any:
        if value.shape.count(length) == 1:
            zeros.append(jnp.zeros_like(value))
        return value

    _evaluated(traced, [ids], [True], note)

    def derivable(added: list[Any]) -> Any:
        rest = iter(added)
        return _evaluated(
            traced, [ids], [True], lambda value: value + next(rest) if value.shape.count(length) == 1 else value
        )[0][0]

    return jax.jit(derivable), zeros


def _evaluated(traced: Any, values: Sequence[Any], of_ids: Sequence[bool], add: Add) -> tuple[list[Any], list[bool]]:
    """The outputs of a traced function, and which of them are integers made of ids."""
    known: dict[Any, Any] = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    known |= zip(traced.jaxpr.invars, values, strict=True)
    marked = {variable for variable, mark in zip(traced.jaxpr.invars, of_ids, strict=True) if mark}

    def value(variable: Any) -> Any:
        return variable.val if hasattr(variable, "val") else known[variable]

    def is_marked(variable: Any) -> bool:
        return not hasattr(variable, "val") and variable in marked

    for equation in traced.jaxpr.eqns:
        marks = [is_marked(variable) for variable in equation.invars]
        results, made = _done(equation, [value(variable) for variable in equation.invars], marks, add)
        known |= zip(equation.outvars, results, strict=True)
        marked |= {variable for variable, mark in zip(equation.outvars, made, strict=True) if mark}
    return [value(out) for out in traced.jaxpr.outvars], [is_marked(out) for out in traced.jaxpr.outvars]


def _done(equation: Any, values: list[Any], marks: list[bool], add: Add) -> tuple[list[Any], list[bool]]:
    """One operation; those that a compiled function holds one by one, where ids reach them."""
    if any(marks) and hasattr(equation.params.get("jaxpr"), "consts") and equation.primitive.name in ("jit", "pjit"):
        return _evaluated(equation.params["jaxpr"], values, marks, add)
    bound = equation.primitive.get_bind_params(equation.params)
    functions, options = bound if isinstance(bound, tuple) else ((), bound)  # JAX before 0.10, and since
    results = equation.primitive.bind(*functions, *values, **options)
    results = list(results) if equation.primitive.multiple_results else [results]
    floats = [jnp.issubdtype(result.dtype, jnp.floating) for result in results]
    looked_up = equation.primitive.name == "gather" and marks[1] and not marks[0]
    if floats[:1] == [True] and (looked_up or (any(marks) and equation.primitive.name == "convert_element_type")):
        return [add(results[0])], [False]
    return results, [any(marks) and not is_float for is_float in floats]
