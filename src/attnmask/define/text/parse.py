"""Read masks back from text and JSON. Nothing is evaluated: only the notation is understood."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any, TypeVar

from attnmask.define import mask as words
from attnmask.define import within as _within  # noqa: F401  # gives Mask the method that texts may call
from attnmask.define.kind import kinds
from attnmask.define.language import Const
from attnmask.define.mask import LATER, Mask, Term
from attnmask.define.text.notation import unpacked
from attnmask.errors import AttnmaskError, NotationError

FORMAT = "attnmask/1"

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "same": words.same,
    "lookup": words.lookup,
    "minimum": words.minimum,
    "maximum": words.maximum,
    "where": words.where,
    "abs": abs,
    "packed": unpacked,
}
NAMES = {"b": words.b, "h": words.h, "q": words.q, "k": words.k}
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.BitAnd: lambda x, y: x & y,
    ast.BitOr: lambda x, y: x | y,
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.FloorDiv: lambda x, y: x // y,
    ast.Mod: lambda x, y: x % y,
}
COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: lambda x, y: x < y,
    ast.LtE: lambda x, y: x <= y,
    ast.Gt: lambda x, y: x > y,
    ast.GtE: lambda x, y: x >= y,
}
METHODS = ("shift", "within")
M = TypeVar("M")


def parse(text: str) -> Mask:
    """Read a mask from its notation: what ``repr(mask)`` prints, and what users type.

    >>> import attnmask as am
    >>> am.parse("causal() & window(4)") == am.causal() & am.window(4)
    True
    >>> am.parse("causal() and window(4)")
    Traceback (most recent call last):
    attnmask.errors.NotationError: a mask is an expression of kinds, terms, & | ~ - and comparisons; got 'causal() and window(4)' at column 1. Combine masks with & | ~, not with and, or, not.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise NotationError(
            "a mask is one Python-like expression", f"{text!r}: {error}", "Write for example 'causal() & window(128)'"
        ) from None
    value = _Reader(text.strip()).read(tree.body)
    if isinstance(value, bool):
        value = Mask(Const(value))
    if not isinstance(value, Mask):
        raise NotationError("the expression is a mask", f"{text!r}, a {_describe(value)}", "Compare it: k <= q")
    return value


def given(value: M | str) -> M | Mask:
    """A mask that is given as its text, read; anything else as it is, for whoever asked to accept or refuse.

    >>> given("causal() & window(4)"), given(None)
    (causal() & window(4), None)
    """
    return parse(value) if isinstance(value, str) else value


class _Reader:
    """Reads one expression tree; every refusal names its column."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, node: ast.expr) -> Any:
        reader = getattr(self, f"_read_{type(node).__name__}", None)
        if reader is None:
            fix = "Combine masks with & | ~, not with and, or, not"
            raise self._error(node, fix if isinstance(node, ast.BoolOp | ast.UnaryOp) else self._known())
        return reader(node)

    def _read_Constant(self, node: ast.Constant) -> Any:
        if node.value is None or isinstance(node.value, (bool, int, str)):
            return node.value
        raise self._error(node, "Positions, lengths and ids are whole numbers")

    def _read_List(self, node: ast.List) -> Any:
        return [self.read(item) for item in node.elts]

    def _read_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.read(item) for item in node.elts)

    def _read_Name(self, node: ast.Name) -> Any:
        if node.id in NAMES:
            return NAMES[node.id]
        raise self._error(node, f"Write {node.id}()" if node.id in kinds() else self._known())

    def _read_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.read(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(value, (int, Term)):
            return -value
        if isinstance(node.op, ast.Invert) and isinstance(value, Mask):
            return ~value
        raise self._error(node, "Write ~mask for the opposite of a mask and -term for a negative term")

    def _read_BinOp(self, node: ast.BinOp) -> Any:
        if type(node.op) not in BINARY:
            raise self._error(node, self._known())
        sides = [self.read(side) for side in (node.left, node.right)]
        if isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            sides = [words.Mask(Const(side)) if isinstance(side, bool) else side for side in sides]
        return self._call(node, BINARY[type(node.op)], *sides)

    def _read_Compare(self, node: ast.Compare) -> Any:
        if len(node.ops) != 1 or type(node.ops[0]) not in COMPARE:
            raise self._error(node, "Compare two terms with < <= > >=, or write same(x, y); join comparisons with &")
        return self._call(node, COMPARE[type(node.ops[0])], self.read(node.left), self.read(node.comparators[0]))

    def _read_Call(self, node: ast.Call) -> Any:
        arguments = [self.read(item) for item in node.args]
        if any(keyword.arg is None for keyword in node.keywords):
            raise self._error(node, "Write each argument by its name")
        keywords = {str(keyword.arg): self.read(keyword.value) for keyword in node.keywords}
        return self._call(node, self._function(node.func), *arguments, **keywords)

    def _function(self, node: ast.expr) -> Callable[..., Any]:
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            receiver = self.read(node.value)
            if isinstance(receiver, Mask):
                return getattr(receiver, node.attr)  # type: ignore[no-any-return]
        if isinstance(node, ast.Name):
            function = {**FUNCTIONS, **kinds()}.get(node.id)
            if function is not None:
                return function
        raise self._error(node, self._known())

    def _call(self, node: ast.expr, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AttnmaskError:
            raise
        except (TypeError, ValueError) as error:
            raise self._error(node, f"{str(error).rstrip('.')}: see help(attnmask)") from None

    def _known(self) -> str:
        return f"Known are b, h, q, k, {', '.join(sorted({**FUNCTIONS, **kinds()}))}"

    def _error(self, node: ast.expr, fix: str) -> NotationError:
        return NotationError(
            "a mask is an expression of kinds, terms, & | ~ - and comparisons",
            f"{self.text!r} at column {node.col_offset + 1}",
            fix,
        )


def _describe(value: Any) -> str:
    return "term" if isinstance(value, Term) else type(value).__name__


def to_json(mask: Mask) -> str:
    """``{"format": "attnmask/1", "mask": <notation>}``."""
    return json.dumps({"format": FORMAT, "mask": repr(mask)})


def from_json(text: str) -> Mask:
    """The mask that ``to_json`` wrote."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise NotationError("a saved mask is JSON", f"{text[:60]!r}: {error}", "Save it with mask.to_json()") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("mask"), str):
        raise NotationError(f"a saved mask has the format {FORMAT!r}", f"{text[:60]!r}", "Save it with mask.to_json()")
    return parse(value["mask"])


LATER["to_json"] = to_json
LATER["from_json"] = from_json
