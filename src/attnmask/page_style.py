"""The style sheet of every HTML page: colours as custom properties, light and dark, screen and paper."""

from __future__ import annotations

# name -> (light, dark). One colour per role, the same in every picture of a page.
COLOURS = {
    "paper": ("#ffffff", "#14171c"),
    "card": ("#f7f8fa", "#1c2027"),
    "ink": ("#1b1f24", "#e6e9ee"),
    "soft": ("#59636e", "#9aa5b1"),
    "line": ("#d5dae0", "#363d47"),
    "x": ("#6b7280", "#a3acb9"),
    "q": ("#2563eb", "#7aa7ff"),
    "k": ("#b45309", "#f0ac5b"),
    "v": ("#15803d", "#63c987"),
    "score": ("#7e22ce", "#c79bf5"),
    "mask": ("#475569", "#94a3b8"),
    "output": ("#0f766e", "#4fd1c1"),
    "visible": ("#2f6fde", "#5b93f5"),
    "partial": ("#b9d0f7", "#2f4a78"),
    "hatch": ("#b3bac3", "#4a525d"),
    "leak": ("#c81e1e", "#ff7b72"),
}
ROLES = ("x", "q", "k", "v", "score", "mask", "output")


def _declarations(theme: int) -> str:
    return " ".join(f"--{name}: {pair[theme]};" for name, pair in COLOURS.items())


def _role_rules() -> str:
    return "\n".join(f".role-{role} {{ --role: var(--{role}); }}" for role in ROLES)


# No script: the two radio buttons override what the reader's system prefers.
THEMES = f"""
:root {{ color-scheme: light; {_declarations(0)} }}
@media (prefers-color-scheme: dark) {{
  :root:not(:has(#theme-light:checked)) {{ color-scheme: dark; {_declarations(1)} }}
}}
:root:has(#theme-dark:checked) {{ color-scheme: dark; {_declarations(1)} }}
@media print {{ :root:root:root {{ color-scheme: light; {_declarations(0)} }} }}
"""

LAYOUT = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 7rem 0.8rem 0; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 0.4rem; }
p { margin: 0.4rem 0; max-width: 52rem; }
code, pre, .matrix, .formula { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; font-size: 0.85rem; line-height: 1.35; margin: 0.6rem 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.3rem;
  margin: 1.1rem 0; }
.theme { position: absolute; top: 1.2rem; right: 1.5rem; font-size: 0.8rem; color: var(--soft); border: 0; padding: 0; }
.theme label { cursor: pointer; }
svg { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; padding: 0.2rem 0; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem 0.9rem; margin: 0.7rem 0; overflow-x: auto; }
.sign { font-size: 1.4rem; color: var(--soft); }
figure { margin: 0.6rem 0; display: inline-block; vertical-align: top; max-width: 100%; margin-right: 1.6rem; }
.row figure { margin-right: 0; width: min-content; }
.row figcaption { min-width: 12rem; }
figcaption { font-size: 0.82rem; color: var(--soft); margin-bottom: 0.25rem; }
figcaption b { color: var(--role, var(--ink)); font-size: 0.95rem; }
.data { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
.data caption { text-align: left; color: var(--soft); padding-bottom: 0.3rem; }
.data th, .data td { text-align: left; padding: 0.28rem 0.8rem 0.28rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
.data th { color: var(--soft); font-weight: 600; }
"""

MATRIX = """
.matrix { border-collapse: separate; border-spacing: 2px; font-size: 0.84rem; font-variant-numeric: tabular-nums; }
.matrix th { color: var(--soft); font-weight: 500; font-size: 0.76rem; padding: 0 0.35rem; white-space: nowrap; }
.matrix tbody th { text-align: right; color: var(--role, var(--soft)); }
.matrix td { text-align: right; padding: 0.22rem 0.5rem; border-radius: 4px; white-space: nowrap;
  background: color-mix(in srgb, var(--role, var(--soft)) 11%, transparent); }
.matrix td:first-of-type { box-shadow: -3px 0 0 -1px var(--role, var(--soft)); }
.matrix td:last-of-type { box-shadow: 3px 0 0 -1px var(--role, var(--soft)); }
.matrix td:hover { outline: 2px solid var(--role, var(--soft)); }
.matrix td.hidden { color: var(--soft);
  background: repeating-linear-gradient(45deg, transparent 0 4px, var(--hatch) 4px 5px); }
.matrix td.hidden .number { background: var(--card); padding: 0 0.2rem; border-radius: 3px; }
.matrix td.leak { outline: 2px solid var(--leak); }
.chips { display: block; margin-top: 0.12rem; line-height: 1; min-height: 0.95rem; }
.chip { display: inline-block; min-width: 0.95rem; padding: 0.1rem 0.2rem; margin-left: 2px; border-radius: 3px;
  text-align: center; font-size: 0.62rem; font-weight: 700; color: #fff; background: #555; }
.chip-0 { background: #1d4ed8; } .chip-1 { background: #b45309; } .chip-2 { background: #15803d; }
.chip-3 { background: #a21caf; } .chip-4 { background: #0e7490; } .chip-5 { background: #854d0e; }
.chip-bad { outline: 2px solid var(--leak); text-decoration: line-through; }
.set { display: block; font-size: 0.62rem; color: var(--soft); }
.none { font-size: 0.62rem; color: var(--soft); }
"""

# Colours in the drawings are attributes, so that an SVG stands alone; on a page these rules replace them.
DRAWING = """
.am-paper { fill: transparent; } .am-ink { fill: var(--ink); } .am-soft { fill: var(--soft); }
.am-visible { fill: var(--visible); } .am-partial { fill: var(--partial); } .am-leak { fill: var(--leak); }
.am-hatch { stroke: var(--hatch); } .am-line { stroke: var(--line); } .am-mark { stroke: var(--ink); }
"""

PRINT = """
@media print {
  body { padding: 0; font-size: 10pt; max-width: none; } .theme { display: none; }
  section { break-inside: avoid; border-color: #bbb; background: none; } .row, .scroll, pre { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

STYLE = "".join((THEMES, _role_rules(), LAYOUT, MATRIX, DRAWING, PRINT))
