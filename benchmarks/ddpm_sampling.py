"""How much faster 20 steps are than all steps of ancestral sampling, and what they cost.

python benchmarks/ddpm_sampling.py                      speed, of a model with fresh weights
python benchmarks/ddpm_sampling.py RUN --quality 2000   and fd_judge of so many samples of each
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from common import alternate, matmul_rate, report
from torch.utils.flop_counter import FlopCounterMode

from gencli import loading
from gencli.data.load import load
from gencli.data.spec import DataInfo
from gencli.evaluation.evaluate import evaluate
from gencli.models.diffusion.configs import DDPMConfig
from gencli.models.diffusion.ddpm import DDPM
from gencli.models.diffusion.samplers import SAMPLERS
from gencli.random import ImageGenerator
from gencli.training.session import recorded


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a trained ddpm; without, a fresh one for MNIST")
    parser.add_argument("--n", type=int, default=16, help="images at once")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="dpm++")
    parser.add_argument("--steps", type=int, default=20, help="of that sampler")
    parser.add_argument("--quality", type=int, default=0, metavar="N", help="samples for fd_judge")
    args = parser.parse_args()

    run = loading.load(args.run) if args.run else None
    model: Any = run.model if run else DDPM(DDPMConfig(), DataInfo(1, 28, 28)).eval()
    few = {"sampler": args.sampler, "steps": args.steps}
    every = {"sampler": "ddpm", "steps": model.config.timesteps}

    def rate(options: dict[str, Any]) -> float:
        began = time.perf_counter()
        generator = ImageGenerator(0, range(args.n), model.device)
        model.sample(args.n, generator=generator, **options).sum().item()
        return args.n / (time.perf_counter() - began)

    with FlopCounterMode(display=False) as counter:
        model.sample(1, generator=ImageGenerator(0, [0], model.device), sampler="ddim", steps=1)
    speeds = alternate(lambda: rate(few), lambda: rate(every), args.pairs)
    report(
        f"{few} against {every}", *speeds, unit="images/s",
        multiply_adds=counter.get_total_flops() / 2 * args.steps, rate=matmul_rate(),
    )  # fmt: skip
    if run and args.quality:
        data = load(recorded(run.run)[1])
        for options in (few, every):
            metrics = ["fd_judge"]
            found = evaluate(model, data, metrics=metrics, n_samples=args.quality, sampling=options)
            print(f"{options}: fd_judge {found['fd_judge'].value:.4f} ({args.quality} samples)")


if __name__ == "__main__":
    main()
