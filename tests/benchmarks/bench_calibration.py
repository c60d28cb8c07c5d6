"""How often what is stated is wrong where the truth is known, with its Monte-Carlo error.

    nice python tests/benchmarks/bench_calibration.py --folder FOLDER [--part people] [--table]

Every design is simulated as a whole, with seeds of its own, and its counts are a line of
``FOLDER/<part>.csv``: what is there is not done again, so that the benchmark may be stopped and go
on. ``--table`` prints what is there as Markdown. ``limits`` are meant to hold in 93 to 97 %, above
where they are open above or hold for many at once; ``p`` to be at most .05 in at most 6 % where
there is nothing; other names are what was seen where there is something.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import calibration_parts

COLUMNS = ("quantity", "family", "design", "simulations", "hits")


def read(path: Path) -> list[dict[str, str]]:
    """Return the lines of a file of counts; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def run(folder: Path, part: str, factor: float) -> None:
    """Simulate the designs of a part that are not in its file."""
    path = folder / f"{part}.csv"
    done = {(line["family"], line["design"]) for line in read(path)}
    for job in calibration_parts.PARTS[part]():
        if (job.family, job.design) in done:
            continue
        start, number = time.process_time(), max(2, round(factor * job.simulations))
        found = job.make(number)
        fresh = not path.exists()
        with path.open("a", newline="") as lines:
            writer = csv.writer(lines)
            if fresh:
                writer.writerow(COLUMNS)
            for name, hits in found.items():
                known = np.asarray(hits, float)
                known = known[np.isfinite(known)]
                row = name, job.family, job.design, len(known), f"{known.sum():g}"
                writer.writerow(row)
        spent = time.process_time() - start
        print(f"{part}: {job.family}, {job.design} ({number}, {spent:.0f} s)", flush=True)


def cell(name: str, lines: list[dict[str, str]]) -> str:
    """Write the rate of a quantity over designs, in %, and the lowest and highest of them.

    A star says that one is further from what is meant than two Monte-Carlo errors.
    """
    number, hits = (
        np.array([float(line[key]) for line in lines]) for key in ("simulations", "hits")
    )
    used = number > 0
    if not used.any():
        return "none given" if lines else ""
    number, rates = number[used], hits[used] / number[used]
    errors = np.sqrt(np.maximum(rates * (1 - rates), 1 / number) / number)
    whole = hits[used].sum() / number.sum()
    error = np.sqrt(whole * (1 - whole) / number.sum())
    worst = rates.argmax() if name.startswith("p of") else rates.argmin()
    off = {
        "p of": (rates > 0.06 + 2 * errors).any(),
        "limi": (rates < 0.93 - 2 * errors).any(),
        "band": (rates < 0.93 - 2 * errors).any(),
    }.get(name[:4], False)
    said = f"{100 * whole:.1f} ± {100 * error:.1f}"
    if len(rates) > 1:
        said += (
            f" ({100 * rates.min():.1f} to {100 * rates.max():.1f}, ± {100 * errors[worst]:.1f})"
        )
    return said + ("\\*" if off else "")


def table(folder: Path) -> Iterator[str]:
    """Yield the lines of the tables, one of each part: a line a quantity, a column a family."""
    for part, jobs in calibration_parts.PARTS.items():
        lines = read(folder / f"{part}.csv")
        if not lines:
            continue
        if part == "limits":  # shapes are many
            for line in lines:
                if line["family"] != "few halves":
                    line["family"] = "seven shapes of curves"
        families = list(dict.fromkeys(line["family"] for line in lines))
        single = [line for line in lines if not line["quantity"].startswith("bands")]
        numbers = sorted({int(line["simulations"]) for line in single} - {0})
        many = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        yield f"\n{jobs.__doc__} Simulations of each design: {many}.\n"
        yield "| | " + " | ".join(families) + " |"
        yield "|---" * (1 + len(families)) + "|"
        for name in dict.fromkeys(line["quantity"] for line in lines):
            own = [line for line in lines if line["quantity"] == name]
            row = [cell(name, [x for x in own if x["family"] == each]) for each in families]
            yield f"| {name} | " + " | ".join(row) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=[*calibration_parts.PARTS], action="append")
    parser.add_argument("--factor", type=float, default=1.0, help="on how many are simulated")
    parser.add_argument("--table", action="store_true", help="print what is there, and no more")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not arguments.table:
        for each in arguments.part or calibration_parts.PARTS:
            run(arguments.folder, each, arguments.factor)
    print("\n".join(table(arguments.folder)))
