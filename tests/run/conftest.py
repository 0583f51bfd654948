"""Fixtures that the tests of several engines share."""

import pytest

from attnmask.run import calls, request
from attnmask.run.machine import Machine, here


@pytest.fixture
def _fresh_compiler():
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _known_processor(monkeypatch):
    """Costs of one kind of processor, whichever runs the tests."""
    monkeypatch.setattr(request, "here", lambda: here()._replace(amx=False, vendor="AuthenticAMD", family=26))
    calls._SETTLED.clear()
    yield
    calls._SETTLED.clear()


@pytest.fixture
def _no_kernel(monkeypatch):
    """As where the kernel could not be compiled."""
    monkeypatch.setattr(request, "here", Machine)
    calls._SETTLED.clear()
    yield
    calls._SETTLED.clear()


@pytest.fixture(params=["our kernel", "torch's kernels"])
def _each_engine(request):
    """The engines that compute on the CPU where nobody asks for one."""
    if request.param == "torch's kernels":
        request.getfixturevalue("_no_kernel")
