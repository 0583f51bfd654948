"""A trace checks itself: the function is run by its own framework at real positions, and must say the same.

A trace sees operators and look-ups, not what arrays do besides: numbers of 8 bits wrap around, and a function may ask
what type its arguments have. So every trace is compared with what torch, NumPy or JAX give.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attnmask.define.language import INDICES
from attnmask.define.tracing.positions import Position, Sampled
from attnmask.errors import MaskError

Function = Callable[..., Any]
Answers = Iterator[tuple[int, Any]]  # the number of a position, and what the function gives there
ORDER = ("numpy", "torch", "jax")
FEWER = 4  # every fourth position


def check(function: Function, sample: Sampled, own: Iterable[str], device: Any = None) -> None:
    """Refuse a trace that differs from the function itself.

    Args:
        function: the user's function.
        sample: what its trace says, and where.
        own: the frameworks whose arrays or functions it uses; of none, every framework that is loaded runs it.
        device: where its tensors of torch lie.
    """
    if not sample.at:
        raise MaskError(
            "a trace is compared with its function where every look-up is inside its table",
            "a function for which no such position was found",
            "Look tables up by b, h, q or k that start at 0",
        )
    loaded = [name for name in ORDER if name in sys.modules]
    first = [name for name in loaded if name in set(own)]
    failures: list[tuple[str, Exception]] = []
    for names in [first, [name for name in loaded if name not in first]] if first else [loaded]:
        failed = [(name, error) for name in names if (error := _differs(function, sample, name, device)) is not None]
        if len(failed) < len(names):
            return
        failures += failed
        if not all(isinstance(error, (AttributeError, TypeError)) for _, error in failed):
            break  # no lack of methods, which another framework may have
    name, error = failures[0]
    raise MaskError(
        "a traced function runs in torch, NumPy or JAX",
        f"one that {name} stops at {_place(sample.at[0])} with {type(error).__name__} {str(error).partition(chr(10))[0]!r}",
        "Call it with four whole numbers of your framework, and mend what it says",
    ) from error


def _differs(function: Function, sample: Sampled, name: str, device: Any) -> Exception | None:
    """Compare with one framework; give the error that kept it from running the function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = list(RUNS[name](function, sample.at, device))
    except Exception as error:  # a user's function raises what it likes; the caller tells of it
        return error
    for number, answer in answers:
        if type(answer) not in (bool, int) or bool(answer) != sample.truths[number]:
            raise _difference(name, sample.at[number], sample.truths[number], answer)
    return None


def _difference(name: str, at: Position, traced: bool, answer: object) -> MaskError:
    return MaskError(
        "a trace says what the function itself says",
        f"{answer!r} from {name} at {_place(at)}, where the trace says {traced}",
        "Write | for 'or' of truth values, cast small dtypes with .long() or .astype(int) before arithmetic, "
        "and do not ask positions for their type or shape",
    )


def _place(at: Position) -> str:
    return f"({', '.join(INDICES)}) = {at}"


def _run_torch(function: Function, at: list[Position], device: Any) -> Answers:
    """As FlexAttention does, under vmap; what vmap cannot do (an if) is done for one position after the other."""
    torch = sys.modules["torch"]

    def columns() -> Any:  # new ones for each run: a function may change them
        return [torch.tensor(column, device=device, dtype=torch.int64) for column in zip(*at, strict=True)]

    def tensor(*places: Any) -> Any:
        answer = function(*places)
        return answer if isinstance(answer, torch.Tensor) else torch.tensor(answer)

    with torch.no_grad():
        try:
            answers = torch.vmap(tensor)(*columns()).tolist()
        except Exception:  # whatever vmap lacks; what the function itself lacks is raised here again
            answers = [_item(function(*places)) for places in zip(*columns(), strict=True)]
    yield from enumerate(answers)


def _run_numpy(function: Function, at: list[Position], device: Any) -> Answers:
    """For one position after the other, as numbers and as arrays without axes."""
    numpy = sys.modules["numpy"]
    columns = [numpy.array(column, dtype=numpy.int64) for column in zip(*at, strict=True)]
    for places in (columns, [list(map(numpy.array, column)) for column in columns]):
        yield from enumerate([_item(function(*place)) for place in zip(*places, strict=True)])


def _run_jax(function: Function, at: list[Position], device: Any) -> Answers:
    """Under vmap; what vmap cannot do, for some positions one after the other: a step of JAX takes long."""
    jax = sys.modules["jax"]
    arrays = [jax.numpy.asarray(column) for column in zip(*at, strict=True)]
    try:
        answers = jax.vmap(lambda *places: jax.numpy.asarray(function(*places)))(*arrays).tolist()
    except Exception:  # whatever vmap lacks; what the function itself lacks is raised here again
        for number in range(0, len(at), FEWER):
            yield number, _item(function(*(array[number] for array in arrays)))
    else:
        yield from enumerate(answers)


def _item(answer: Any) -> Any:
    return answer.item() if hasattr(answer, "item") else answer


RUNS: dict[str, Callable[[Function, list[Position], Any], Answers]] = {
    "torch": _run_torch,
    "numpy": _run_numpy,
    "jax": _run_jax,
}
