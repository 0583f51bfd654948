"""The rules of the tree, derived from the names of its files and folders."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import attnmask

ROOT = Path(attnmask.__file__).parent
STAGES = ("define", "lower", "exchange", "run", "bench", "verify", "explain", "model", "recipes")
BASE = ("errors", "conventions", "page", "page_style")  # used by every stage, and using none
OPEN_FOLDERS = ("masks", "selections", "forms", "frameworks", "engines", "selected", "outputs")
FRAMEWORKS = {"torch", "jax", "transformers", "tensorflow", "z3", "PIL", "tqdm", "datasets"}
IN_TORCH = ("model", "recipes")  # stages that are written in torch as a whole
FILES = sorted(ROOT.rglob("*.py"))


def imports(path):
    """Every module that a file imports, at any depth of its code; type-checking imports do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(path, names):
    """What is wrong with the imports of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    stage = parts[0] if parts[0] in STAGES else None
    words = {word for part in parts for word in part.split("_")} | ({"torch"} if stage in IN_TORCH else set())
    for name in names:
        first, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if first in FRAMEWORKS and first not in words and not (first == "PIL" and "png" in words):
            yield f"{'/'.join(parts)} imports {name}: only a file named after a framework imports it"
        if stage == "define" and first not in {*sys.stdlib_module_names, "attnmask"}:
            yield f"{'/'.join(parts)} imports {name}: define needs the standard library only"
        if first == "attnmask" and stage and target in STAGES and STAGES.index(target) > STAGES.index(stage):
            yield f"{'/'.join(parts)} imports {name}: imports go from later stages to earlier ones"
        if first == "attnmask" and parts[0] in BASE and target in STAGES:
            yield f"{'/'.join(parts)} imports {name}: the base knows no stage"
        siblings = name.split(".")[1:-1]
        inside, own = siblings[:2] == list(parts[:2]), len(parts) > 3 and name.split(".")[3:4] == [parts[2]]
        if len(parts) > 2 and parts[1] in OPEN_FOLDERS and inside and not own and parts[-1] != "__init__":
            yield f"{'/'.join(parts)} imports {name}: files of an open folder do not import each other"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_rules(path):
    assert list(violations(path, imports(path))) == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("define/mask.py", "numpy"),
        ("define/mask.py", "attnmask.lower.lowering"),
        ("lower/grid.py", "torch"),
        ("lower/grid.py", "attnmask.run.attention"),
        ("define/masks/causal.py", "attnmask.define.masks.window.window"),
        ("exchange/frameworks/torch_sdpa.py", "jax"),
        ("run/engines/cpu/engine.py", "attnmask.run.engines.torch.edges.attend"),
        ("page.py", "attnmask.define.mask"),
    ],
)
def test_the_import_rules_can_fail(file, name):
    assert list(violations(ROOT / file, [name]))


def fresh_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


LOADED = "import sys; print(*sorted({'torch', 'jax', 'transformers', 'z3', 'PIL', 'tensorflow'} & set(sys.modules)))"


def test_importing_attnmask_imports_no_framework():
    assert fresh_process(f"import attnmask; {LOADED}") == []


def test_the_test_above_can_fail():
    assert fresh_process(f"import attnmask, torch; {LOADED}") == ["torch"]


def test_masks_are_drawn_and_counted_without_any_framework():
    code = "import attnmask as am; m = am.causal() & am.padding([3, 2]); m.count(4); am.show(m, 4).text(); am.recognize(m.dense(4));"
    assert fresh_process(code + LOADED) == []


PUBLIC = [
    "Audit",
    "CounterExample",
    "Explanation",
    "Finding",
    "Flow",
    "Frame",
    "Mask",
    "Picture",
    "Plan",
    "Proof",
    "Report",
    "Selection",
    "Term",
    "Undecided",
    "Why",
    "attention",
    "attention_weights",
    "axial",
    "b",
    "block_diffusion",
    "blocks",
    "causal",
    "audit",
    "check",
    "chunked",
    "diagnose",
    "dilated",
    "documents",
    "equivalent",
    "everything",
    "explain",
    "export",
    "flow",
    "frameworks",
    "graph",
    "grid",
    "h",
    "images",
    "implies",
    "k",
    "landmarks",
    "lookup",
    "lower",
    "maximum",
    "media",
    "minimum",
    "nan_safe",
    "nothing",
    "padding",
    "parse",
    "plan",
    "prefix",
    "q",
    "random_blocks",
    "read",
    "recognize",
    "record",
    "same",
    "shared_prefix",
    "show",
    "simplify",
    "sinks",
    "sliding_tiles",
    "strided",
    "table",
    "testing",
    "threshold",
    "top_k",
    "top_k_blocks",
    "trace",
    "tree",
    "where",
    "why",
    "window",
]


def test_public_names():
    modules = {*STAGES} | {"conventions", "errors", "page", "page_style"}
    names = {name for name in vars(attnmask) if not name.startswith("_")} - (modules - set(PUBLIC)) - {"cli"}
    assert names == set(PUBLIC)


def test_every_kind_of_mask_is_public():
    from attnmask.define.kind import kinds

    for name, function in kinds().items():
        assert getattr(attnmask, name) is function


def test_every_public_function_has_a_docstring_with_an_example():
    shown = {"record", "check", "attention", "attention_weights"} & set(PUBLIC)
    for name in PUBLIC:
        value = getattr(attnmask, name)
        if not callable(value) or isinstance(value, type):
            continue
        text = value.__doc__ or ""
        assert text.strip(), name
        assert ">>>" in text or name in shown or name in ("minimum", "maximum"), name


LONGEST_FILE, LONGEST_FUNCTION = 400, 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) else None
            lines = (node.end_lineno or 0) - (docstring.end_lineno if docstring else node.lineno)
            assert lines <= LONGEST_FUNCTION, f"{path}:{node.lineno} {node.name}"
