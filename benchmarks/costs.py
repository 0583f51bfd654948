"""Measures what attention costs on the processor at hand, and writes its entry into the table that attnmask comes with.

    python benchmarks/costs.py                              this processor, a minute at most
    ATTNMASK_HIDE=avx512 ATEN_CPU_CAPABILITY=avx2 python benchmarks/costs.py      as where there is no AVX-512
    ATTNMASK_HIDE=avx512,avx2 python benchmarks/costs.py    as where the kernel was not compiled
    python benchmarks/costs.py --no-save                    prints it only

``attnmask bench --save`` does the same for a user, into a file of their own. Run it with nothing else running.
"""

import argparse
import json
from pathlib import Path

from attnmask.bench.torch_costs import entry
from attnmask.run import costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    measured = entry(lambda name: print("  ..", name, flush=True))
    for name, one in measured.costs.items():
        print(
            f"{name:20}", {key: one_value for key, one_value in one._asdict().items() if key not in ("flash", "flex")}
        )
    if not options.no_save:
        others = [one for one in costs.table() if one.machine.kind != measured.machine.kind]
        entries = sorted(
            [*others, measured], key=lambda one: (one.machine.vendor, one.machine.family, str(one.machine.variant))
        )
        Path(str(costs.TABLE)).write_text(json.dumps([one.to_json() for one in entries], indent=1) + "\n")


if __name__ == "__main__":
    main()
