"""Compiles the kernel of the engine ``cpu``; all else is said in pyproject.toml.

Where it cannot be compiled, attnmask is installed without it, and the engine says so.
"""

import platform
import sys
from glob import glob

from setuptools import Extension, setup

KERNEL = "src/attnmask/run/engines/cpu/kernel"
VARIANTS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3"}  # as attnmask.run.engines.cpu.kernel looks for them
PARTS = ("blocks", "groups", "by_key")
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-Wno-maybe-uninitialized"]

supported = sys.platform == "linux" and platform.machine() == "x86_64"

setup(
    ext_modules=[
        Extension(
            f"attnmask.run.engines.cpu.kernel.{variant}",
            [f"{KERNEL}/{part}.cpp" for part in PARTS],
            depends=[*glob(f"{KERNEL}/*.h"), "setup.py"],
            language="c++",
            extra_compile_args=[*FLAGS, f"-march={machine}"],
            extra_link_args=["-fopenmp"],
            optional=True,
        )
        for variant, machine in VARIANTS.items()
        if supported
    ]
)
