"""Measures the memory of a conversion against its bound, on a checkpoint of about one GiB made for it.

    python scripts/measure_conversion.py --gib 1

The bound is 1.3 times the larger of checkpoint and parameters, plus 300 MiB. Each conversion runs in a process of its
own, whose peak (``ru_maxrss``, mapped pages included) is what the system counted: first the conversion alone, then the
whole of it with the pass of two clips through the finished network, for a safetensors and for a torch zip source.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FACTOR, SPARE = 1.3, 300 * 2**20
WIDTH, HIDDEN, CLASSES = 1280, 5120, 400
CHILD = """
import resource, sys
from vtcd_jax.converters import convert
convert(sys.argv[1], sys.argv[2], config={"image_size": 224, "num_frames": 16}, sanity=sys.argv[3] == "sanity")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a VideoMAE classifier as wide as ViT-H."""
    found = {"patch_embed.proj.weight": (WIDTH, 3, 2, 16, 16), "patch_embed.proj.bias": (WIDTH,)}
    for i in range(depth):
        found |= {
            f"blocks.{i}.{name}": shape
            for name, shape in {
                "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH),
                "attn.q_bias": (WIDTH,), "attn.v_bias": (WIDTH,), "attn.proj.weight": (WIDTH, WIDTH),
                "attn.proj.bias": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
                "mlp.fc1.weight": (HIDDEN, WIDTH), "mlp.fc1.bias": (HIDDEN,), "mlp.fc2.weight": (WIDTH, HIDDEN),
                "mlp.fc2.bias": (WIDTH,),
            }.items()
        }  # fmt: skip
    return found | {"fc_norm.weight": (WIDTH,), "fc_norm.bias": (WIDTH,), "head.weight": (CLASSES, WIDTH),
                    "head.bias": (CLASSES,)}  # fmt: skip


def make_source(path: str, gib: float) -> None:
    """Writes the checkpoint: a torch zip file for the suffix ``.pth``, else a safetensors file."""
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from tests.converters.torch_writer import write_torch
    from vtcd_jax.base.files import save_safetensors

    per_block = 4 * sum(math.prod(shape) for name, shape in shapes(1).items() if name.startswith("blocks"))
    wanted = shapes(round(gib * 2**30 / per_block))
    rng = np.random.default_rng(0)

    def weights(name: str) -> np.ndarray:
        return rng.standard_normal(wanted[name], np.float32) * np.float32(0.02)

    if path.endswith(".pth"):
        write_torch(Path(path), {"module": {name: weights(name) for name in wanted}})
        return
    save_safetensors(path, {name: (shape, "float32", lambda n=name: weights(n)) for name, shape in wanted.items()})


def measure(source: Path, out: Path, check: str) -> None:
    """Converts in a process of its own and prints its peak beside the bound."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, source, out, check],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    peak = int(done.stdout.split()[-1]) * 2**10
    largest = max(source.stat().st_size, (out / "params.safetensors").stat().st_size)
    bound = FACTOR * largest + SPARE
    print(
        f"{source.suffix:<12} {check:<10} checkpoint {source.stat().st_size / 2**20:6.0f} MiB, "
        f"peak {peak / 2**20:6.0f} MiB, bound {bound / 2**20:6.0f} MiB ({'within' if peak <= bound else 'ABOVE'}), "
        f"{time.perf_counter() - begin:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the memory of a conversion against its bound.")
    parser.add_argument("--gib", type=float, default=1.0, help="size of the checkpoint")
    options = parser.parse_args()
    apart = multiprocessing.get_context("spawn")  # a child's peak counts from its parent's: this one stays small
    with tempfile.TemporaryDirectory() as name:
        for suffix in (".safetensors", ".pth"):
            source, out = Path(name) / f"source{suffix}", Path(name) / "out"
            maker = apart.Process(target=make_source, args=(str(source), options.gib))
            maker.start()
            maker.join()
            for check in ("alone", "sanity"):
                measure(source, out, check)
                shutil.rmtree(out)
            source.unlink()


if __name__ == "__main__":
    main()
