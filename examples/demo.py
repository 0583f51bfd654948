"""What ``make demo`` runs: explain a mask, then audit three real models and one broken one.

Exits 1 unless the three are clean and the leak of the broken one is found.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import attnmask as am
from attnmask.verify.audit import Audit, audit

REPORTS = Path("reports")
TARGETS = {  # target -> (what it is, whether it should be clean)
    "transformers:GPT2LMHeadModel": ("a decoder", True),
    "transformers:BertModel": ("an encoder", True),
    "transformers:T5ForConditionalGeneration": ("an encoder-decoder", True),
    "examples.leaky_decoder:broken": ("a decoder with a bug in one layer", False),
}
STEPS = 1 + len(TARGETS)


def main() -> int:
    started = time.monotonic()
    announce(1, 'attnmask explain "Hello there"')
    explanation = am.explain("Hello there")
    print(explanation.text())
    REPORTS.mkdir(exist_ok=True)
    explanation.save(REPORTS / "hello-there.html")
    (REPORTS / "hello-there.json").write_text(explanation.to_json(), encoding="utf-8")
    written = [REPORTS / "hello-there.html", REPORTS / "hello-there.json"]

    surprises = []
    for step, (target, (what, clean)) in enumerate(TARGETS.items(), start=2):
        announce(step, f"attnmask audit {target}   ({what})")
        found = audited(target)
        print(found.text())
        written += found.save(REPORTS)
        if found.ok != clean:
            surprises.append(f"{target}: expected {'no leak' if clean else 'a leak'}, got {found.verdict}")

    print(f"\nDone in {time.monotonic() - started:.0f} s. Reports:")
    print("\n".join(f"  {path}" for path in written))
    print("\n".join(surprises), file=sys.stderr)
    return 1 if surprises else 0


def announce(step: int, what: str) -> None:
    done = "#" * (step - 1) + "." * (STEPS - step + 1)
    print(f"\n[{done}] step {step} of {STEPS}: {what}", flush=True)


def audited(target: str) -> Audit:
    return audit(target, progress=shown())


def shown() -> Callable[[str], None]:
    """Each step of an audit on one line that the next one replaces, or on its own line where nobody watches."""
    end = "" if sys.stderr.isatty() else "\n"
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    return lambda sentence: print(f"{start}  .. {sentence}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
