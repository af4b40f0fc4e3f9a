"""How much faster 20 steps of dpm++ are than all steps of ancestral sampling, and what they cost.

    python benchmarks/ddpm_sampling.py                    # speed, of a model with fresh weights
    python benchmarks/ddpm_sampling.py RUN --quality 2000 # and fd_judge of so many samples of each

Speed is the median over rounds that alternate the two on the same images. It is set beside the
machine's rate at matrix products, measured in the same process.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from gencli import loaded, registry
from gencli.data.spec import DataInfo
from gencli.evaluation.evaluate import evaluate
from gencli.models.ddpm import DDPM, Config
from gencli.sampling.generator import ImageGenerator
from gencli.training.session import load_data
from gencli.training.settings import Settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a trained ddpm; a fresh model without")
    parser.add_argument("--n", type=int, default=16, help="images at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="steps of dpm++")
    parser.add_argument("--quality", type=int, default=0, metavar="N", help="samples for fd_judge")
    arguments = parser.parse_args()

    model = fresh() if arguments.run is None else loaded.load(arguments.run).model
    if not isinstance(model, DDPM):
        parser.error(f"{arguments.run} is no ddpm")
    few = {"sampler": "dpm++", "steps": arguments.steps}
    all_ = {"sampler": "ddpm", "steps": model.config.timesteps}
    speed(model, few, all_, arguments.n, arguments.rounds)
    if arguments.quality and arguments.run is not None:
        quality(arguments.run, model, few, all_, arguments.quality)


def fresh() -> DDPM:
    """The default model for MNIST, untrained: its speed is the same."""
    assert registry.find("ddpm").load() is DDPM
    return DDPM(Config(), DataInfo(1, 28, 28)).eval()


@torch.no_grad()
def speed(model: DDPM, few: dict, all_: dict, n: int, rounds: int) -> None:
    """Print images per second of both, their ratio, and the share of the matrix-product rate."""
    seconds: dict[str, list[float]] = {"few": [], "all": []}
    for _ in range(rounds):
        for name, options in (("few", few), ("all", all_)):
            generator = ImageGenerator(0, range(n), model.device)
            began = time.perf_counter()
            model.sample(n, generator=generator, **options).sum().item()
            seconds[name].append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(seconds["all"], seconds["few"], strict=True))
    with FlopCounterMode(display=False) as counter:
        model.sample(1, generator=ImageGenerator(0, [0], model.device), sampler="ddim", steps=1)
    rate = matrix_product_rate(model.device)
    for name, options in (("few", few), ("all", all_)):
        median = statistics.median(seconds[name])
        used = counter.get_total_flops() * options["steps"] * n / median / rate
        print(
            f"{options['sampler']:6} {options['steps']:5} steps  {n / median:9.2f} images/s  "
            f"{used:.0%} of the matrix-product rate"
        )
    print(f"ratio {ratio:.1f} (median of {rounds} rounds, {n} images at once)")


def matrix_product_rate(device: torch.device) -> float:
    """Floating-point operations per second of a large fp32 matrix product."""
    a = torch.randn(2048, 2048, device=device)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def quality(run: str, model: DDPM, few: dict, all_: dict, n: int) -> None:
    """Print the Frechet distance of the judge's features for both, by the same judge."""
    data = load_data(Settings(**loaded.load(run).run.record["settings"]), lambda *_: None)
    scores = {}
    for name, options in (("few", few), ("all", all_)):
        found = evaluate(model, data, metrics=["fd_judge"], n_samples=n, sampling=options)
        scores[name] = found["fd_judge"].value
        print(f"{options['sampler']:6} {options['steps']:5} steps  fd_judge {scores[name]:.3f}")
    print(f"ratio {scores['few'] / scores['all']:.3f} ({n} samples of each)")


if __name__ == "__main__":
    main()
