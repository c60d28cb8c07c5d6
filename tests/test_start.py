"""What a start imports: by the names of modules, as times differ from machine to machine."""

import subprocess
import sys

import pytest

SLOW = ("torch", "scipy", "sklearn", "matplotlib", "transformers", "dask", "seaborn")
LIGHT = (*SLOW, "numpy", "pandas", "xarray", "zarr", "pydantic")


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import dynamics", LIGHT),
        ("import dynamics.cli.program", LIGHT),
        ("import dynamics.config", SLOW),
        ("import dynamics.checkpoints, dynamics.store", SLOW),
    ],
)
def test_a_start_leaves_out_what_takes_long(statement, without):
    script = (
        f"{statement}\nimport sys\n"
        f"print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {set(without)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == []


def test_help_needs_no_more():
    script = (
        "import sys\nfrom dynamics.cli import main\nsys.argv = ['dynamics', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    left = {set(LIGHT)!r} & set(sys.modules)\n"
        "    sys.exit(', '.join(left) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
