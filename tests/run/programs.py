"""Programs of torch with attention in them, written by one process and run by another: see ``test_programs.py``.

python -m tests.run.programs write WAY FOLDER MASK...      records and saves each, and what it must give
python -m tests.run.programs read WAY FOLDER MASK...       loads each, after calls with other masks of the same shapes
"""

import pickle
import sys
import warnings
from pathlib import Path

import torch

BATCH, HEADS, KV_HEADS, LENGTH, FEW, DIM = 2, 4, 2, 40, 7, 16
IDS = [[0] * 9 + [1] * 20 + [2] * 11, [0] * 30 + [1] * 10]


def masks():
    """Two of each shape, and the rows of q: the second one is what a process that runs the first has seen before."""
    import attnmask as am

    causal = am.causal()
    return {
        "causal": (causal, causal & am.window(3), LENGTH),
        "window": (causal & am.window(5), am.window(2, 2), LENGTH),
        "documents": (causal & am.documents(IDS), am.documents([ids[::-1] for ids in IDS]), LENGTH),
        "padding": (am.padding([40, 13]), am.padding([11, 40]), LENGTH),
        "sinks": (causal & (am.sinks(2) | am.window(6)), causal & (am.sinks(5) | am.window(1)), LENGTH),
        "graph": (am.graph([[0, 1], [3, 39], [39, 3]], LENGTH), am.graph([[0, 2], [1, 1]], LENGTH), LENGTH),
        "last": (causal & am.padding([40, 38]), am.padding([40, 3]), FEW),
        "across": (am.padding([9, 31]), am.padding([40, 3]), FEW),
        "selection": (causal & am.top_k(3), causal & am.top_k(9), LENGTH),
    }


def arrays(rows):
    generator = torch.Generator().manual_seed(0)
    shapes = [(HEADS, rows), (KV_HEADS, LENGTH), (KV_HEADS, LENGTH)]
    return tuple(torch.randn(BATCH, *shape, DIM, generator=generator) for shape in shapes)


def attention(mask, q, k, v, engine=None):
    import attnmask as am

    frame = am.Frame(q.shape[2], k.shape[2], align="end")
    return am.attention(q, k, v, mask, frame=frame, engine=engine)


class Module(torch.nn.Module):
    def __init__(self, mask, engine=None):
        super().__init__()
        self.mask, self.engine = mask, engine

    def forward(self, q, k, v):
        return attention(self.mask, q, k, v, self.engine)


def save_onnx(module, path, inputs):
    torch.onnx.export(module, inputs, str(path), dynamo=True, verbose=False)


def load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return lambda *qkv: torch.tensor(
        session.run(None, {name: x.numpy() for name, x in zip(names, qkv, strict=True)})[0]
    )


def make_fx(module, inputs):
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(module)(*inputs)


def save_export(module, path, inputs, strict=False):
    torch.export.save(torch.export.export(module, inputs, strict=strict), path)


def save_aoti(module, path, inputs):
    program = torch.export.export(module, inputs)
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def load_export(path):
    return torch.export.load(path).module()


# By name: the engine that is asked for, how a program is saved, and how it is loaded.
WAYS = {
    "export": (None, save_export, load_export),
    "export strict": (None, lambda *args: save_export(*args, strict=True), load_export),
    "export cpu": ("cpu", save_export, load_export),
    "aoti": (None, save_aoti, lambda path: torch._inductor.aoti_load_package(str(path))),
    "jit": (None, lambda m, path, inputs: torch.jit.trace(m, inputs).save(path), torch.jit.load),
    "make_fx": (
        None,
        lambda m, path, inputs: path.write_bytes(pickle.dumps(make_fx(m, inputs))),
        lambda path: pickle.loads(path.read_bytes()),
    ),
    "make_fx cpu": (
        "cpu",
        lambda m, path, inputs: path.write_bytes(pickle.dumps(make_fx(m, inputs))),
        lambda path: pickle.loads(path.read_bytes()),
    ),
    "pickle": (
        None,
        lambda m, path, inputs: path.write_bytes(pickle.dumps(m)),
        lambda path: pickle.loads(path.read_bytes()),
    ),
    "onnx": (None, save_onnx, load_onnx),
}
SUFFIX = {"export": ".pt2", "export strict": ".pt2", "export cpu": ".pt2", "aoti": ".pt2", "onnx": ".onnx"}


def write(way, folder, names):
    engine, save, _ = WAYS[way]
    for name in names:
        mask, _, rows = masks()[name]
        inputs = arrays(rows)
        save(Module(mask, engine).eval(), folder / f"{name}{SUFFIX.get(way, '.bin')}", inputs)
        torch.save((inputs, attention(mask, *(x.double() for x in inputs)).float()), folder / f"{name}.right")


def read(way, folder, names, *, alone=False):
    for name in names:
        if not alone:
            _, other, rows = masks()[name]
            for engine in (None, "torch", "cpu") if name != "selection" else (None,):
                attention(other, *arrays(rows), engine=engine)
                torch.export.export(Module(other, engine), arrays(rows))
        inputs, right = torch.load(folder / f"{name}.right")
        program = WAYS[way][2](folder / f"{name}{SUFFIX.get(way, '.bin')}")
        torch.testing.assert_close(program(*inputs), right, rtol=1e-4, atol=1e-5)
    if alone:
        assert not [name for name in sys.modules if name.partition(".")[0] == "attnmask"]


def compiled(engine, which, names):
    """torch.compile, with whatever torch keeps on disk from another process."""
    for name in names:
        mask, rows = masks()[name][which], masks()[name][2]
        function = torch.compile(lambda q, k, v, mask=mask: attention(mask, q, k, v, engine), fullgraph=True)
        inputs = arrays(rows)
        right = attention(mask, *(x.double() for x in inputs)).float()
        torch.testing.assert_close(function(*inputs), right, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _, act, way, folder, *names = sys.argv
    if act == "compile":
        compiled(None if way == "any" else way, int(folder), names)
    elif act == "write":
        write(way, Path(folder), names)
    else:
        read(way, Path(folder), names, alone=act == "alone")
