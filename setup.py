"""Compiles the kernel of the engine ``cpu``; all else is said in pyproject.toml.

Where it cannot be compiled, attnmask is installed without it, and the engine says so.
"""

import platform
import sys
from glob import glob

from setuptools import Extension, setup

KERNEL = "src/attnmask/run/engines/cpu/kernel"
PARTS = ("blocks", "groups", "by_key")
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-maybe-uninitialized"]
X86 = {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"]}
VARIANTS = {  # and what they are compiled with, as attnmask.run.engines.cpu.kernel looks for them
    ("linux", "x86_64"): X86,
    ("linux", "aarch64"): {"neon": []},  # tried under an emulator only
    ("darwin", "arm64"): {"neon": []},  # not tried
}
# Apple's compiler has no OpenMP, and passes over what asks for threads: there the kernel has one.
THREADS = ["-fopenmp"] if sys.platform == "linux" else []

setup(
    ext_modules=[
        Extension(
            f"attnmask.run.engines.cpu.kernel.{variant}",
            [f"{KERNEL}/{part}.cpp" for part in PARTS],
            depends=[*glob(f"{KERNEL}/*.h"), "setup.py"],
            language="c++",
            extra_compile_args=[*FLAGS, *THREADS, *machine],
            extra_link_args=THREADS,
            optional=True,
        )
        for variant, machine in VARIANTS.get((sys.platform, platform.machine()), {}).items()
    ]
)
