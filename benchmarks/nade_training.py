"""Training NADE, 784 pixels and 500 hidden units in batches of 100, against a loop over the pixels.

Both do the same step: forward, backward, Adam. The loop is the textbook's, one pixel at a time
under autograd, which keeps every activation. A step cannot do without the multiply-adds of the
hidden sums and the outputs, forwards and backwards: 6 D H per image.

    python benchmarks/nade_training.py [--pairs 5] [--steps 3] [--profile]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import alternate, matmul_rate, report
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.autoregressive.configs import NADEConfig
from gencli.models.autoregressive.nade import NADE
from gencli.models.interface import Batch, Step

N_PIXELS, N_HIDDEN, BATCH = 784, 500, 100
DATA = DataInfo(1, 28, 28, binarization="static")


def rate_of(
    loss: Callable[[Tensor], Tensor], parameters: list[torch.nn.Parameter], n_steps: int
) -> float:
    """Images per second of `n_steps` steps, after one to warm up."""
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
    x = (torch.rand(BATCH, 1, 28, 28) < 0.2).float()
    for step in range(n_steps + 1):
        if step == 1:
            began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(x).backward()
        optimizer.step()
    return n_steps * BATCH / (time.perf_counter() - began)


def plain_loss(model: NADE) -> Callable[[Tensor], Tensor]:
    """The loop over pixels, on the parameters of `model`."""

    def loss(x: Tensor) -> Tensor:
        x = x.flatten(1)
        a = model.c.expand(len(x), -1)
        w, v = model.w.unbind(0), model.v.unbind(0)
        logits = []
        for d in range(N_PIXELS):
            logits.append(torch.sigmoid(a) @ v[d].t() + model.b[d])
            a = a + x[:, d : d + 1] * w[d]
        outputs = torch.cat(logits, 1)
        return F.binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(1).mean()

    return loss


def main() -> None:
    """Measure both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print where our step's time goes")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = NADE(NADEConfig(hidden=N_HIDDEN), DATA)
    parameters = list(model.parameters())

    def ours(x: Tensor) -> Tensor:
        return model.loss(Batch(x), Step()).total

    plain = plain_loss(model)
    x = (torch.rand(2, 1, 28, 28) < 0.2).float()
    torch.testing.assert_close(ours(x), plain(x))
    if arguments.profile:
        with torch.profiler.profile() as profile:
            rate_of(ours, parameters, arguments.steps)
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))
    rates = alternate(
        lambda: rate_of(ours, parameters, arguments.steps),
        lambda: rate_of(plain, parameters, arguments.steps),
        arguments.pairs,
    )
    report(
        "nade training", *rates, unit="images/s",
        multiply_adds=6 * N_PIXELS * N_HIDDEN, rate=matmul_rate(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
