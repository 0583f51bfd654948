"""Compiles the kernel of the engine ``cpu``; all else is said in pyproject.toml.

Where it cannot be compiled, attnmask is installed without it, and the engine says so.
"""

import platform
import sys
from glob import glob

from setuptools import Extension, setup

KERNEL = "src/attnmask/run/engines/cpu/kernel"
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-maybe-uninitialized"]
# Apple's compiler has no OpenMP, and passes over what asks for threads: there the kernel has one.
THREADS = ["-fopenmp"] if sys.platform == "linux" else []

ROWS, TILED = ("blocks", "groups", "by_key"), ("tiled", "groups")  # sources
NEON = {"neon": (ROWS, [])}
X86 = {
    "avx512": (ROWS, ["-march=x86-64-v4"]),
    "avx2": (ROWS, ["-march=x86-64-v3"]),
    "amx": (TILED, ["-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]),
    "bf16": (TILED, ["-march=x86-64-v4", "-mavx512bf16"]),
    # the tiles of amx without their instructions, for tests
    "emulated": (("tiled",), ["-march=x86-64-v4", "-DEMULATED"]),
}
VARIANTS = {  # as attnmask.run.engines.cpu.kernel looks for them: their sources, and the processor
    ("linux", "x86_64"): X86,
    ("linux", "aarch64"): NEON,  # tried under an emulator only
    ("darwin", "arm64"): NEON,  # not tried
}

setup(
    ext_modules=[
        Extension(
            f"attnmask.run.engines.cpu.kernel.{variant}",
            [f"{KERNEL}/{source}.cpp" for source in sources],
            depends=[*glob(f"{KERNEL}/*.h"), "setup.py"],
            language="c++",
            extra_compile_args=[*FLAGS, *THREADS, *machine],
            extra_link_args=THREADS,
            optional=True,
        )
        for variant, (sources, machine) in VARIANTS.get((sys.platform, platform.machine()), {}).items()
    ]
)
