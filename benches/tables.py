"""Figures as text: medians with their ranges, ratios, tables, plots, and the marked sections of docs/performance.md.

Shared by `compare`, `compare-clients` and `scaling`. Leaves out: where the figures come from.
"""

import math
import os
import pathlib
import platform
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"


def program(name="gantline"):
    """A release binary of the workspace."""
    return str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / name)


def note(text):
    """Says on a terminal how far things are."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if text.endswith("\n") else "", file=sys.stderr, flush=True)


def median(values):
    return statistics.median(values) if values else None


def ranged(values):
    """The median, and from where to where the values go, in the unit of the median."""
    if not values:
        return "–"
    middle = median(values)
    size, digits, unit = (1e6, 2, " M") if middle >= 1e6 else (1e3, 1, " k") if middle >= 1e3 else (1, 0, "")
    low, middle, high = [f"{value / size:.{digits}f}" for value in (min(values), middle, max(values))]
    return f"{middle}{unit} ({low}–{high})"


def ratio(ours, theirs):
    return ours / theirs if ours and theirs else None


def shown(quotient):
    """A ratio with as many digits as it deserves."""
    if quotient is None:
        return "–"
    return f"{quotient:.2f}" if quotient < 2 else f"{quotient:.1f}"


def markdown(head, lines):
    """A table, with columns as wide as their widest cell so that a terminal can show it too."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    row = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([row(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(row, lines)])


def machine():
    """What this was measured on."""
    cpu = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return f"{cpu}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def write(mark, body):
    """Puts a text between the marks `<!-- MARK -->` and `<!-- /MARK -->` of docs/performance.md."""
    text = PAGE.read_text()
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if start not in text or end not in text:
        sys.exit(f"docs/performance.md has no section {start} … {end}")
    before, rest = text.split(start, 1)
    PAGE.write_text(f"{before}{start}\n{body.strip()}\n{end}{rest.split(end, 1)[1]}")


def plot(title, bars_of):
    """An SVG: for each name some bars (label, value), on a logarithmic scale that begins at 1."""
    colours = ["#4c72b0", "#dd8452", "#55a868", "#c44e52"]
    shapes, y, left, width = [], 40, 280, 620
    widest = math.log10(100)
    for name, bars in bars_of:
        shapes.append(f'<text x="{left - 10}" y="{y + 13}" text-anchor="end">{name}</text>')
        for index, (label, value) in enumerate(bars):
            length = max(2, width * min(1, math.log10(max(value, 1)) / widest))
            colour = colours[index % len(colours)]
            shapes.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="12" fill="{colour}"/>')
            shapes.append(f'<text x="{left + length + 6:.0f}" y="{y + 11}">{value:.1f} × {label}</text>')
            y += 16
        y += 10
    style = "text{font:12px sans-serif;fill:#333}"
    head = f'<text x="{left}" y="20">{title}</text>'
    size = f'width="{left + width + 160}" height="{y + 10}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{head}{"".join(shapes)}</svg>\n'
