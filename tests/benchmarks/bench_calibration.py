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


def verdict(name: str, rates: np.ndarray, errors: np.ndarray) -> str:
    """Say whether rates are where they are meant to be, as far as simulations tell."""
    if name.startswith("p of"):
        return "" if (rates <= 0.06 + 2 * errors).all() else "above"
    if name.startswith("limits") or name.startswith("bands"):
        return "" if (rates >= 0.93 - 2 * errors).all() else "below"
    return ""


def table(folder: Path) -> Iterator[str]:
    """Yield the lines of the table, a line a quantity and family of designs."""
    yield "| what is stated | designs | of each | mean | lowest to highest | where it is worst |"
    yield "|---|---|---|---|---|---|"
    for part in calibration_parts.PARTS:
        groups: dict[tuple[str, str], list[dict[str, str]]] = {}
        for line in read(folder / f"{part}.csv"):
            groups.setdefault((line["quantity"], line["family"]), []).append(line)
        for (name, family), lines in groups.items():
            number = np.array([float(line["simulations"]) for line in lines])
            use = number > 0
            hits = np.array([float(line["hits"]) for line in lines])[use]
            rates, number = hits / number[use], number[use]
            if not len(rates):
                yield f"| {name} | {family}: {len(lines)} | | none is given | | |"
                continue
            errors = np.sqrt(np.maximum(rates * (1 - rates), 1 / number) / number)
            worst = int(rates.argmax() if name.startswith("p of") else rates.argmin())
            all_of = float(hits.sum() / number.sum())
            error = float(np.sqrt(all_of * (1 - all_of) / number.sum()))
            designs = [line["design"] for line, used in zip(lines, use, strict=True) if used]
            least, most = (f"{100 * each:.1f}" for each in (rates.min(), rates.max()))
            span = least if len(rates) == 1 else f"{least} to {most}"
            off = f" **{told}**" if (told := verdict(name, rates, errors)) else ""
            yield (
                f"| {name} | {family}: {len(rates)} | {number.min():.0f} "
                f"| {100 * all_of:.1f} ± {100 * error:.1f} | {span} ± {100 * errors[worst]:.1f} "
                f"| {designs[worst]}{off} |"
            )


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
