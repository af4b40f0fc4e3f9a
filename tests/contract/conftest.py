"""Every registered model at a size that trains in a moment, and the same small data for all."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gencli import registry
from gencli.data.binarize import bernoulli
from gencli.data.captions import tokens, vocabulary
from gencli.data.glyphs import render
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.models.interface import GenerativeModel
from gencli.registry import ModelSpec

TINY: dict[str, dict[str, Any]] = {
    "vae": {"hidden": (16,), "latent_dim": 2},
    "autoencoder": {
        "hidden": (16,),
        "latent_dim": 4,
        "active": 2,
        "components": 3,
        "penalty": "contractive",
    },
    "ppca": {"latent_dim": 4},
    "factor-analysis": {"latent_dim": 4, "iterations": 20},
    "sbn": {"hidden": (16, 8), "particles": 3},
    "gan": {"width": 16, "d_width": 16},
    "dcgan": {"width": 8, "d_width": 8, "hidden": 8},
    "wgan": {"width": 8, "d_width": 8, "hidden": 8},
    "wgan-gp": {"width": 8, "d_width": 8, "hidden": 8},
    "lsgan": {"width": 8, "d_width": 8, "hidden": 8},
    "cgan": {"width": 8, "d_width": 8, "hidden": 8},
    "gan-cls": {"width": 8, "d_width": 8, "hidden": 8, "caption_dim": 8, "interpolation": 0.5},
    "stackgan": {
        "width": 8,
        "d_width": 8,
        "hidden": 8,
        "caption_dim": 8,
        "condition_dim": 4,
        "refiner_width": 4,
    },
    "pix2pix": {"width": 4, "d_width": 4},
    "ddpm": {"width": 8, "multipliers": (1, 1)},
    "flow-matching": {"width": 8, "multipliers": (1, 1)},
    "d3pm": {"width": 8, "multipliers": (1, 1, 1), "timesteps": 4},
    "binomial-diffusion": {"width": 8, "multipliers": (1, 1, 1), "timesteps": 4},
    "rbm": {"hidden": 16, "chains": 8},
    "dbn": {"hidden": (16, 8), "chains": 8},
    "boltzmann": {"hidden": 8, "chains": 8},
    "dbm": {"hidden": (16, 8), "chains": 8},
    "mixture": {"components": 5},
    "nade": {"hidden": 16},
    "made": {"hidden": (16, 16), "masks": 2, "order_agnostic": True},
    "pixelcnn": {"channels": 8, "blocks": 2},
    "pixelrnn": {"channels": 4},
    "transformer": {"width": 8, "depth": 1, "heads": 2},
}
"""Options that make a model small; the others' defaults are small enough or overridden here."""

SIDE: dict[str, int] = {
    "vae": 28,
    "boltzmann": 7,
    "gan-cls": 8,
    "stackgan": 16,
    "pix2pix": 14,
    "ddpm": 8,
    "flow-matching": 8,
    "d3pm": 8,
    "binomial-diffusion": 8,
}
"""Pixels a side, where they are not 12: the time of a model grows with their number or faster."""


WORDS, LENGTH = vocabulary(render(100, seed=0).captions)


@cache
def glyph_split(n: int, seed: int) -> Split:
    glyphs = render(n, seed=seed)
    columns = (glyphs.images, glyphs.labels, tokens(glyphs.captions, WORDS, LENGTH))
    return Split(*(torch.from_numpy(column) for column in columns))


def small_data(binarization: str, side: int = 28) -> ImageData:
    """96 training, 20 validation and 20 test glyphs, as a model trains on them by default."""
    info = DataInfo(1, side, side, tuple("0123456789"), binarization, WORDS, LENGTH, source="edges")
    splits = {}
    for seed, (name, n) in enumerate({"train": 96, "val": 20, "test": 20}.items()):
        split = glyph_split(n, seed)
        if side != 28:
            images = F.interpolate(split.images, (side, side), mode="bilinear", antialias=True)
            split = replace(split, stored=images)
        splits[name] = split
    return ImageData("glyphs", info, fingerprint="small", **splits)


def tiny_data(spec: ModelSpec) -> ImageData:
    """Small data of a size that suits a model."""
    return small_data(spec.options().training.binarize, SIDE.get(spec.name, 12))


@pytest.fixture(params=[spec.name for spec in registry.MODELS])
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return registry.find(request.param)


@pytest.fixture
def data(spec: ModelSpec) -> ImageData:
    return tiny_data(spec)


@pytest.fixture
def model(spec: ModelSpec, data: ImageData) -> GenerativeModel:
    return build(spec, data)


def build(spec: ModelSpec, data: ImageData) -> GenerativeModel:
    torch.manual_seed(0)
    return spec.load()(replace(spec.options()(), **TINY.get(spec.name, {})), data.info)


def batch_images(data: ImageData, n: int) -> torch.Tensor:
    images = data.train.images[:n]
    if data.info.binary:
        return bernoulli(images, torch.Generator().manual_seed(0)).float()
    return images.float() / 255
