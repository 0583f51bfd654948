"""Fixtures that the tests of several engines share."""

import pytest


@pytest.fixture
def _fresh_compiler():
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
