"""What a training step of `vae` (784-512-256-2, batch 100, fp32) on MNIST is spent on.

Processor time, in one thread, of the trainer's whole step with the bound by hand and in its plain
form (`VAE._elbo`), of its matrix products alone and of Adam's kernel alone, in alternation.

    OMP_NUM_THREADS=1 python benchmarks/vae_step.py [--rounds 50]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from vae_training import BATCH, LATENT

from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.order import Order
from gencli.data.splits import ImageData
from gencli.data.store import store_of
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.vae import VAE
from gencli.training.metrics import Window
from gencli.training.settings import Settings
from gencli.training.steps import Steps

LAYERS = ((784, 512), (512, 256), (256, 2 * LATENT), (LATENT, 256), (256, 512), (512, 784))
IN_A_ROW = 5


def step_of(data: ImageData, *, by_hand: bool) -> Callable[[int], object]:
    """The trainer's step, by its number."""
    model = VAE(VAEConfig(latent_dim=LATENT), data.info)
    if not by_hand:
        model._is_dense = lambda: False  # type: ignore[method-assign]
    store = store_of(data.train, data.info, "cpu")
    order, settings = Order(len(store), BATCH, 0), Settings(batch_size=BATCH)
    steps = Steps(
        model, model.stages()[0], store, order, settings, precision="fp32", total=None
    )  # fmt: skip
    window = Window()
    return lambda number: steps.take(number, window)


def products() -> Callable[[int], object]:
    """The matrix products of a step: outputs, gradients of weights, gradients of inputs."""
    made = [
        (torch.randn(BATCH, n), torch.randn(m, n), torch.randn(BATCH, m), torch.zeros(m))
        for n, m in LAYERS
    ]

    def run(number: int) -> None:
        for x, w, out, b in made:
            torch.addmm(b, x, w.t(), out=out)
        for x, w, out, _ in reversed(made):
            out.t().mm(x)
            if x is not made[0][0]:
                out.mm(w)

    return run


def adam() -> Callable[[int], object]:
    """Fused Adam on as many numbers as the model has."""
    p = torch.nn.Parameter(torch.randn(sum((n + 1) * m for n, m in LAYERS)))
    p.grad = torch.randn_like(p)
    optimizer = torch.optim.Adam([p], fused=True)
    return lambda number: optimizer.step()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    data = load(DataOptions("mnist", val=0))
    parts = {
        "step, by hand": step_of(data, by_hand=True),
        "step, plain form": step_of(data, by_hand=False),
        "products": products(),
        "Adam": adam(),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds):
        for name, run in parts.items():
            run(number * (IN_A_ROW + 1))  # warms the caches
            began = time.thread_time()
            for i in range(1, IN_A_ROW + 1):
                run(number * (IN_A_ROW + 1) + i)
            taken[name].append((time.thread_time() - began) / IN_A_ROW)
    whole = taken["step, by hand"]
    for name, times in taken.items():
        share = statistics.median(t / w for t, w in zip(times, whole, strict=True))
        tenth = sorted(times)[len(times) // 10]
        print(f"{name}: {1e3 * tenth:.2f} ms (a tenth are faster), {share:.0%} of the step by hand")


if __name__ == "__main__":
    main()
