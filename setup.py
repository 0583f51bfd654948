"""Compiles the kernel of the engine ``cpu``; all else is said in pyproject.toml.

Where it cannot be compiled, attnmask is installed without it, and the engine says so.
"""

import platform
import sys

from setuptools import Extension, setup

KERNEL = "src/attnmask/run/engines/cpu/kernel"
HEADERS = {"blocks": ("call", "lists", "panels", "vectors"), "tiled": ("call", "listed", "packing", "tiles", "vectors")}
VARIANTS = {  # as attnmask.run.engines.cpu.kernel looks for them: the source, and the processor
    "avx512": ("blocks", ["-march=x86-64-v4"]),
    "avx2": ("blocks", ["-march=x86-64-v3"]),
    "amx": ("tiled", ["-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]),
    "bf16": ("tiled", ["-march=x86-64-v4", "-mavx512bf16"]),
    "emulated": ("tiled", ["-march=x86-64-v4", "-DEMULATED"]),  # the tiles of amx without their instructions, for tests
}
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-Wno-maybe-uninitialized"]

supported = sys.platform == "linux" and platform.machine() == "x86_64"

setup(
    ext_modules=[
        Extension(
            f"attnmask.run.engines.cpu.kernel.{variant}",
            [f"{KERNEL}/{source}.cpp"],
            depends=[f"{KERNEL}/{header}.h" for header in HEADERS[source]] + ["setup.py"],
            language="c++",
            extra_compile_args=[*FLAGS, *machine],
            extra_link_args=["-fopenmp"],
            optional=True,
        )
        for variant, (source, machine) in VARIANTS.items()
        if supported
    ]
)
