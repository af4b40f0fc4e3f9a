"""What every registered model promises."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest
import torch

from gencli.config import Options, fields_of
from gencli.data.conditions import Condition, in_turn
from gencli.data.options import DataOptions
from gencli.data.splits import ImageData
from gencli.data.store import ResidentStore
from gencli.models.abilities import (
    PROTOCOLS,
    HasBound,
    HasEncoder,
    HasEnergy,
    HasLatent,
    HasLogProb,
    HasLogWeights,
    abilities_of,
)
from gencli.models.interface import GenerativeModel, Step
from gencli.random import ImageGenerator
from gencli.registry import FAMILIES, ModelSpec
from gencli.training.settings import Settings

from .conftest import batch_images


def test_the_table_tells_the_truth(spec: ModelSpec):
    assert spec.family in FAMILIES
    assert spec.summary
    assert spec.paper
    assert spec.abilities <= set(PROTOCOLS)
    assert abilities_of(spec.load()).names == spec.abilities


def test_instances_have_the_declared_abilities(spec: ModelSpec, model: GenerativeModel):
    found = abilities_of(model)
    assert found.names == spec.abilities
    assert found.conditions == model.config.conditions()


def test_options_of_methods_are_those_declared(spec: ModelSpec, model: GenerativeModel):
    config = spec.options()
    methods = {"sample": config.Sampling, "decode": config.Decoding}
    measured = [name for name in ("log_partition", "log_prob_bound") if hasattr(model, name)]
    methods |= dict.fromkeys(measured[:1], config.Measuring)
    methods |= dict.fromkeys(measured[1:], Options)  # the bound lacks log Z, and has none
    for name, options in methods.items():
        if not hasattr(model, name):
            assert not fields_of(options)
            continue
        taken = inspect.signature(getattr(model, name)).parameters
        for field in fields_of(options):
            assert field.name in taken
            if name in ("sample", "decode"):
                assert taken[field.name].default == field.default
        common = {"n", "x", "z", "generator", "condition", "on_step"}
        assert set(taken) - common == {f.name for f in fields_of(options)}


def test_options_do_not_collide_with_the_common_ones(spec: ModelSpec):
    common = {f.name for f in [*fields_of(Settings), *fields_of(DataOptions)]} | {
        "name",
        "resume",
        "config",
        "json",
        "quiet",
    }
    own = fields_of(spec.options())
    assert not common & {f.name for f in own}
    assert all(f.help for f in own)


def test_default_options_are_within_their_bounds(spec: ModelSpec):
    for field in fields_of(spec.options()):
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        for value in values:
            if value is None:
                continue
            assert field.min is None or value >= field.min, field.name
            assert field.max is None or value <= field.max, field.name


def test_each_update_changes_its_own_parameters_and_no_others(
    model: GenerativeModel, data: ImageData
):
    model.train()
    store = ResidentStore(data.train, data.info, "cpu", model.conditions)
    stages = model.stages()
    assert stages
    assert len({stage.name for stage in stages}) == len(stages)
    seen: set[torch.nn.Parameter] = set()
    for stage in stages:
        assert len({u.name for u in stage.updates}) == len(stage.updates)
        if stage.start is not None:
            stage.start(store.in_order(32))
        batch = stage.prepare(next(iter(store.in_order(32))))
        step = Step()
        for update in stage.updates:
            own = set(update.parameters)
            seen |= own
            if update.optimizer is None:
                continue
            before = {name: p.detach().clone() for name, p in model.named_parameters()}
            model.zero_grad(set_to_none=True)
            loss = update.loss(batch, step)
            assert loss.total.dim() == 0
            assert all(value.dim() == 0 for value in loss.metrics.values())
            assert torch.isfinite(loss.total)
            loss.total.backward(inputs=update.parameters)
            with_gradient = {p for p in model.parameters() if p.grad is not None}
            assert with_gradient
            assert with_gradient <= own
            torch.optim.SGD(update.parameters, 1e-2).step()
            changed = {p for name, p in model.named_parameters() if not p.equal(before[name])}
            assert changed
            assert changed <= own
    everything = {p for p in model.parameters() if p.requires_grad}
    assert seen >= everything, "a parameter that nothing trains"


@torch.no_grad()
def test_samples_have_the_promised_shape_and_range(model: GenerativeModel, data: ImageData):
    model.eval()
    images = model.sample(5, generator=ImageGenerator(0, range(5)), condition=told(model, 5))
    assert images.shape == (5, *data.info.shape)
    assert torch.isfinite(images).all()
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


@torch.no_grad()
def test_image_i_depends_on_seed_and_i_alone(model: GenerativeModel):
    model.eval()
    condition = told(model, 5)
    whole = model.sample(5, generator=ImageGenerator(7, range(5)), condition=condition)
    alone = condition.rows(slice(3, 4))
    torch.manual_seed(123)  # the global generator has no say
    single = model.sample(1, generator=ImageGenerator(7, [3]), condition=alone)
    # the same up to the rounding of differently blocked matrix products
    torch.testing.assert_close(whole[3:4], single, atol=1e-4, rtol=0)
    other = model.sample(5, generator=ImageGenerator(8, range(5)), condition=condition)
    assert not other.equal(whole)


def told(model: GenerativeModel, n: int) -> Condition:
    return in_turn(model.data, model.conditions, n)


@torch.no_grad()
def test_abilities_keep_their_word(model: GenerativeModel, data: ImageData):
    model.eval()
    x, condition = batch_images(data, 6), told(model, 6)
    checked = 0
    if isinstance(model, HasLogProb):
        log_p = model.log_prob(x, condition)
        assert log_p.shape == (6,)
        assert torch.isfinite(log_p).all()
        if model.data.binary:
            assert (log_p < 0).all()  # a probability
        checked += 1
    if isinstance(model, HasBound):
        assert model.log_prob_bound(x, condition).shape == (6,)
        checked += 1
    if isinstance(model, HasLogWeights):
        weights = model.log_weights(x, 3, condition)
        assert weights.shape == (3, 6)
        assert torch.isfinite(weights).all()
        checked += 1
    if isinstance(model, HasEnergy):
        assert model.energy(x).shape == (6,)
        checked += 1
    if isinstance(model, HasLatent):
        z = model.sample_latent(6, generator=ImageGenerator(0, range(6)))
        assert len(z) == 6
        images = model.decode(z, condition)
        assert images.shape == (6, *data.info.shape)
        assert images.equal(model.decode(z, condition))
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
        checked += 1
    if isinstance(model, HasEncoder):
        assert isinstance(model, HasLatent)
        z = model.encode(x, condition)
        assert z.equal(model.encode(x, condition))
        assert model.decode(z, condition).shape == x.shape
        checked += 1
    assert checked, "neither a likelihood nor an energy nor a latent space"


def test_docstring_names_the_paper_it_is_from(spec: ModelSpec):
    text = inspect.getdoc(importlib.import_module(spec.module))
    assert text
    assert any(mark in text for mark in ("arXiv:", "19", "20"))
    assert len(text) > 200


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Settings)])
def test_every_common_option_has_help(name: str):
    field = next(f for f in fields_of(Settings) if f.name == name)
    assert field.help.endswith(".")
