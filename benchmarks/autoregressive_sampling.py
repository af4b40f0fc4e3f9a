"""Sampling 64 images pixel by pixel: gencli's caches against the whole network once per pixel.

The same models, with random weights; the plain loop draws the same pixels (a test says so). Every
pass of it costs the same, so it is timed over the first `--plain-pixels` of the 784 and scaled. Of
`transformer` a pixel is a square of 2 x 2, of which there are 196.

    python benchmarks/autoregressive_sampling.py [--models fvsbn,nade,made,pixelcnn,gated,...]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import torch
from common import alternate, matmul_rate, report

from gencli.data.spec import DataInfo
from gencli.models.autoregressive import fvsbn, made, nade, pixelcnn, pixelrnn, transformer
from gencli.models.autoregressive.ancestral import uncached
from gencli.models.autoregressive.configs import (
    FVSBNConfig,
    MADEConfig,
    NADEConfig,
    PixelCNNConfig,
    PixelRNNConfig,
    TransformerConfig,
)
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator

DATA = DataInfo(1, 28, 28, binarization="static")
BUILDS = {
    "fvsbn": lambda: fvsbn.FVSBN(FVSBNConfig(), DATA),
    "nade": lambda: nade.NADE(NADEConfig(hidden=500), DATA),
    "made": lambda: made.MADE(MADEConfig(hidden=(500, 500)), DATA),
    "pixelcnn": lambda: pixelcnn.PixelCNN(PixelCNNConfig(channels=32, blocks=15, kernel=3), DATA),
    "gated": lambda: pixelcnn.PixelCNN(
        PixelCNNConfig(channels=32, blocks=7, kernel=3, gated=True), DATA
    ),
    "pixelrnn": lambda: pixelrnn.PixelRNN(PixelRNNConfig(), DATA),
    "pixelrnn-row": lambda: pixelrnn.PixelRNN(PixelRNNConfig(kind="row"), DATA),
    "transformer": lambda: transformer.Transformer(TransformerConfig(patch=2), DATA),
    "transformer-pixels": lambda: transformer.Transformer(TransformerConfig(patch=1), DATA),
}


@torch.inference_mode()
def ours(model: GenerativeModel, n: int) -> float:
    """Images per second of `sample`."""
    began = time.perf_counter()
    model.sample(n, generator=ImageGenerator(0, range(n)))
    return n / (time.perf_counter() - began)


@torch.inference_mode()
def plain(model: Any, n: int, n_timed: int) -> float:
    """Images per second of the loop that runs the whole network for every pixel."""
    conditional = uncached(model.parameters_of)
    places = n_places(model)
    pixels = torch.zeros(places, n)
    noise = model.likelihood.noise(torch.rand(places, n))
    began = time.perf_counter()
    for t in range(n_timed):
        pixels[t] = model.likelihood.draw(conditional(t, pixels), noise[t], 1.0)
    return n / (time.perf_counter() - began) * n_timed / places


def n_places(model: Any) -> int:
    """How many times the plain loop runs the network."""
    return model.patches.n_tokens if isinstance(model, transformer.Transformer) else DATA.n_pixels


def multiply_adds(model: GenerativeModel) -> float:
    """Per image, of the unmasked weights: what drawing it cannot do without."""
    if isinstance(model, pixelcnn.PixelCNN):
        masks = dict(model.named_buffers())
        kernels = [
            int(masks[name.replace("weight", "mask")].sum())
            if name.replace("weight", "mask") in masks
            else weight.numel()
            for name, weight in model.named_parameters()
            if weight.dim() == 4
        ]
        return float(sum(kernels) * DATA.n_pixels)
    if isinstance(model, pixelrnn.PixelRNN):
        stack = model.stack
        first = int(stack.first.mask.sum())
        parts = (*stack.layers.parameters(), stack.mix.weight, stack.last.weight)
        return float(DATA.n_pixels * (first + sum(p.numel() for p in parts if p.dim() > 1)))
    if isinstance(model, transformer.Transformer):
        places, config = model.patches.n_tokens, model.config
        linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
        return float(places * linear + config.depth * config.width * places * (places + 1))
    share = 1.0 if isinstance(model, nade.NADE) else 0.5  # half of a masked matrix is zero
    return share * sum(p.numel() for p in model.parameters() if p.dim() > 1)


def main() -> None:
    """Measure every model, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(BUILDS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--plain-pixels", type=int, default=28)
    arguments = parser.parse_args()
    rate = matmul_rate()
    for name in arguments.models.split(","):
        torch.manual_seed(0)
        model = BUILDS[name]().eval()
        n = arguments.images
        plain(model, n, 2)  # warm up
        pair = partial(ours, model, n), partial(plain, model, n, arguments.plain_pixels)
        report(
            name, *alternate(*pair, arguments.pairs),
            unit="images/s", multiply_adds=multiply_adds(model), rate=rate,
        )  # fmt: skip


if __name__ == "__main__":
    main()
