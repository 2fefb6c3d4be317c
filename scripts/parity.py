"""Prints the parity table of the README: largest error of every network against its reference arrays.

    python scripts/parity.py

The error is the largest difference over the largest magnitude, over all stored taps, outputs and interventions, in
float32 at the highest matrix precision. The arrays lie in ``tests/golden/models``; tests hold every value below 1e-5.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    sys.path.insert(0, str(ROOT))
    from tests.models.references import REFERENCES

    print("| network | quantities | largest relative error | at | largest difference |\n|---|---|---|---|---|")
    for name, errors in REFERENCES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = dict(errors(ROOT / "tests" / "golden", Path(folder)))
        worst = max(found, key=found.__getitem__)
        absolute = max(error.absolute for error in found.values())
        print(f"| {name} | {len(found)} | {found[worst]:.1e} | {worst} | {absolute:.1e} |", flush=True)


if __name__ == "__main__":
    main()
