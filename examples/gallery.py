"""Write docs/masks.md: every kind of mask, from the files of src/attnmask/define/masks.

python examples/gallery.py
"""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import attnmask as am
from attnmask.define.kind import kinds

PAGE = Path(__file__).resolve().parents[1] / "docs" / "masks.md"

INTRODUCTION = """# Every kind of mask

Written by `python examples/gallery.py` from the files of `src/attnmask/define/masks`: one kind per file, with its source, a
formula over query position q and key position k, and a picture of its first example (rows = queries, columns = keys, ■ = visible).
Kinds combine with `&`, `|`, `~` and `-`; `mask.shift(q, k)` moves one, `mask.within(documents)` counts its positions per document,
and anything else that is written with operators, look-ups, `if` and `and` is a mask too: `am.trace(lambda b, h, q, k: ...)`.
"""


def entry(name: str) -> str:
    """One kind: its signature, sentence, source and picture."""
    function = kinds()[name]
    module = importlib.import_module(f"attnmask.define.masks.{name}")
    sentence = inspect.getdoc(function).split("\n\n")[0].replace("\n", " ").replace("``", "`")
    source = inspect.getdoc(module).split("\n\n")[0].replace("\n", " ").replace("``", "`")
    mask, frame = module.EXAMPLES[0]
    picture = am.show(mask, frame).text()
    return f"## {name}\n\n`am.{name}({parameters(function)})`\n\n{sentence}\n\n{source}\n\n```text\n{picture}\n```\n"


def parameters(function: Callable[..., object]) -> str:
    """The signature without types."""
    signature = inspect.signature(function)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(inspect.Signature(plain))[1:-1]


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(entry(name) for name in sorted(kinds()))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE.name} with {len(kinds())} kinds")
