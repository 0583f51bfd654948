"""Which engine takes a call, decided without any GPU: requests name the device."""

import pytest

import attnmask as am
from attnmask.errors import InputError
from attnmask.run import costs
from attnmask.run.choose import choose, engine_names, fastest, library_of, named, refusal
from attnmask.run.costs import Costs, Entry
from attnmask.run.engines import Engine
from attnmask.run.engines.cpu import ways as of_kernel
from attnmask.run.engines.torch import ways as of_torch
from attnmask.run.machine import Machine
from attnmask.run.request import Request, Setting, request_of, setting_of

torch = pytest.importorskip("torch")

AVX512, NO_COMPILER = Machine("avx512", 32), Machine()
SLOW = Machine("avx512", 32, amx=True)  # where what torch has is faster than the kernel


@pytest.fixture(autouse=True)
def _two_kinds(monkeypatch):
    """The costs of two kinds of processor, made up."""

    def entry(machine, kernel):
        return Entry(machine, {f"{dtype} {work}": Costs(kernel=kernel) for dtype in DTYPES for work in WORKS}, "paper")

    monkeypatch.setattr(costs, "table", lambda: (entry(AVX512, 0.5), entry(SLOW, 3.0)))
    caches = (costs.entry_of, of_kernel.cheapest, of_torch.cheapest)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


CAUSAL = am.causal()
DTYPES, WORKS = ("float32", "bfloat16", "float16"), ("forward", "training")
N = 4096


def request(mask, library="torch", length=N, dim=64, dtype="float32", device="cuda", machine=AVX512, **setting):
    frame, setting = am.Frame(length, q_start=0), Setting(dtype, device, **setting)
    return Request(library, mask, frame, 2, 8, 8, dim, dim, setting, machine)


@pytest.mark.parametrize(
    ("asked", "engine"),
    [
        (request(CAUSAL), "torch"),
        (request(am.everything()), "torch"),
        (request(CAUSAL & am.window(255)), "flex"),
        (request(CAUSAL & am.window(255), grad=True), "flex"),
        (request(CAUSAL & am.window(255), device="cpu"), "cpu"),
        (request(CAUSAL & am.window(255), device="cpu", machine=SLOW), "torch"),
        (request(CAUSAL & am.window(255), device="cpu", machine=NO_COMPILER), "torch"),
        (request(CAUSAL & am.window(255), device="cpu", grad=True, dtype="bfloat16"), "cpu"),
        (request(CAUSAL & am.window(255), device="cpu", grad=True, dtype="bfloat16", machine=SLOW), "torch"),
        (request(CAUSAL, device="cpu"), "cpu"),
        (request(CAUSAL, device="cpu", machine=SLOW), "torch"),
        (request(CAUSAL & am.window(255), device="cpu", dtype="float64"), "torch"),
        (request(CAUSAL & am.window(255), device="cpu", transformed=True), "torch"),
        (request(CAUSAL & am.window(255), device="cpu", fused=False), "torch"),
        (request(CAUSAL & am.window(3), device="cpu", length=8), "torch"),
        (request(am.graph([(n, n * 997 % N) for n in range(N)], N), device="cpu"), "cpu"),
        (request(CAUSAL & am.window(255), device="meta"), "torch"),
        (request(CAUSAL & am.window(255), dtype="float64"), "torch"),
        (request(CAUSAL & am.window(255), transformed=True), "torch"),
        (request(CAUSAL & am.window(255), dim=8), "torch"),
        (request(CAUSAL & am.window(31), length=512), "torch"),
        (request(CAUSAL | am.prefix(3 * N // 4)), "torch"),
        (request(CAUSAL & am.window(255), library="jax"), "jax"),
        (request(CAUSAL & am.window(255), library="numpy"), "numpy"),
    ],
)
def test_fastest(asked, engine):
    assert fastest(asked) == engine
    assert refusal(engine, asked) is None


def test_every_engine_answers_every_request_of_its_library():
    """Each has a reason or runs; what runs can say what it calls."""
    masks = [CAUSAL, CAUSAL & am.window(3), CAUSAL & am.padding([2, 8]), am.nothing(), am.sinks(2)]
    for mask in masks:
        for library in ("numpy", "torch", "jax"):
            for device in ("cpu", "cuda", "meta"):
                asked = request(mask, library, 8, device=device)
                for engine in engine_names():
                    reason = refusal(engine, asked)
                    if reason is not None:
                        assert reason
                        continue
                    assert named(engine).cost(asked) >= 0
                    work = named(engine).work(asked)
                    assert work.computed >= 0
                    assert work.words


def test_another_library_is_a_reason():
    assert refusal("jax", request(CAUSAL)) == "it computes with arrays of jax, not of torch"


def test_a_library_that_is_not_installed_is_a_reason(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

    monkeypatch.setattr("attnmask.run.choose.importlib.import_module", missing)
    assert refusal("torch", request(CAUSAL)) == "the package torch is not installed"


def test_an_engine_that_refuses_is_not_replaced():
    with pytest.raises(InputError, match="the engine 'flex' must be able to run the call; got it computes float32"):
        choose("flex", request(CAUSAL, dtype="float64"))


def test_the_setting_is_read_from_the_arrays():
    q = torch.ones(1, 2, 3, 4, requires_grad=True)
    assert setting_of({"q": q}) == Setting("float32", "cpu", True, False)
    assert setting_of({"q": q.to("meta")}).device == "meta"
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert setting_of({"q": q, "k": q}) == Setting("bfloat16", "cpu", False, False)
    seen = []
    torch.func.vmap(lambda q: seen.append(setting_of({"q": q})) or q)(q.detach())
    assert seen == [Setting("float32", "cpu", False, True)]
    asked = request_of("torch", CAUSAL, am.Frame(3, 5, q_start=2), {"q": q, "k": torch.ones(1, 1, 5, 4)})
    assert (asked.batch, asked.heads, asked.kv_heads, asked.dim, asked.dim_v, asked.copies) == (1, 2, 1, 4, 4, 2)


def test_every_engine_holds_the_protocol():
    protocol = [name for name in vars(Engine) if not name.startswith("_")]
    assert len(protocol) >= 5
    for engine in engine_names():
        assert library_of(engine) in ("numpy", "torch", "jax")
        assert all(callable(getattr(named(engine), name)) for name in protocol)


def test_the_choice_is_the_smallest_cost():
    asked = request(CAUSAL & am.window(255), device="cpu")
    costs_of_engines = {name: named(name).cost(asked) for name in engine_names() if refusal(name, asked) is None}
    assert set(costs_of_engines) >= {"cpu", "torch"}
    assert fastest(asked) == min(costs_of_engines, key=costs_of_engines.__getitem__)
