"""Walks from one condition to another: the same latent, told something else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gencli import registry
from gencli.cli import conditions
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.loaded import LoadedModel
from gencli.models.build import make
from gencli.models.diffusion.configs import FlowMatchingConfig
from gencli.models.diffusion.flow_matching import FlowMatching
from gencli.models.interface import GenerativeModel
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.vae import VAE
from tests.contract.conftest import TINY

DATA = DataInfo(1, 8, 8, ("a", "b", "c"), vocabulary=("dark", "light", "top"), caption_length=3)
FLOW = {"width": 8, "multipliers": (1, 2), "conditional": True, "text": True}


def loaded(model: GenerativeModel, name: str) -> LoadedModel:
    run: Any = SimpleNamespace(model=name, name="small")
    return LoadedModel(model.eval(), run, "raw", 0)


@pytest.fixture
def flow() -> LoadedModel:
    torch.manual_seed(0)
    model = FlowMatching(FlowMatchingConfig(**FLOW), DATA)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return loaded(model, "flow-matching")


def test_ends_differ_in_what_is_asked_alone(flow: LoadedModel) -> None:
    asked = {"from_prompt": "light top", "to_prompt": "dark", "label": 1}
    start, end = conditions.ends(asked, flow, 2) or pytest.fail("no walk")
    assert start.text is not None
    assert end.text is not None
    assert start.text.tolist() == [[3, 4, 0]] * 2
    assert end.text.tolist() == [[2, 0, 0]] * 2
    for told in (start, end):
        assert told.labels is not None
        assert told.labels.tolist() == [1, 1]
    start, end = conditions.ends({"from_label": 0, "to_label": 2}, flow, 2) or pytest.fail("none")
    assert start.labels is not None
    assert end.labels is not None
    assert (start.labels.tolist(), end.labels.tolist()) == ([0, 0], [2, 2])
    assert conditions.ends({"label": 1}, flow, 2) is None


def test_an_end_may_be_an_empty_prompt(flow: LoadedModel) -> None:
    start, _ = conditions.ends({"from_prompt": "", "to_prompt": "dark"}, flow, 1) or pytest.fail(
        "no"
    )
    assert start.text is not None
    assert not start.text.any()


@pytest.mark.parametrize("given", [{"from_prompt": "dark"}, {"to_label": 1}])
def test_a_way_needs_both_ends(flow: LoadedModel, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="both ends"):
        conditions.ends(given, flow, 1)


def test_the_way_leads_from_end_to_end(flow: LoadedModel) -> None:
    z = flow.sample_latent(2, seed=1)
    start, end = conditions.ends({"from_label": 0, "to_label": 2}, flow, 2) or pytest.fail("none")
    images = flow.decode_between(z, start, end, 3, steps=2)
    assert images.shape == (2, 3, *DATA.shape)
    torch.testing.assert_close(images[:, 0], flow.decode(z, start, steps=2))
    torch.testing.assert_close(images[:, 2], flow.decode(z, end, steps=2))
    assert float((images[:, 1] - (images[:, 0] + images[:, 2]) / 2).abs().max()) > 1e-5


def test_what_cannot_be_walked_is_refused(flow: LoadedModel) -> None:
    z = flow.sample_latent(1)
    start, end = conditions.ends({"from_label": 0, "to_label": 7}, flow, 1) or pytest.fail("none")
    with pytest.raises(UsageError, match="no such class"):
        flow.decode_between(z, start, end, 3)
    model = loaded(VAE(VAEConfig(hidden=(8,), latent_dim=2, conditional=True), DATA), "vae")
    start, end = conditions.ends({"from_label": 0, "to_label": 1}, model, 1) or pytest.fail("none")
    with pytest.raises(UsageError, match="from one condition to another"):
        model.decode_between(model.sample_latent(1), start, end, 3)


@pytest.mark.parametrize("name", ["gan-cls", "stackgan"])
def test_gans_walk_between_captions(name: str) -> None:
    torch.manual_seed(0)
    spec, info = registry.find(name), replace(DATA, height=16, width=16)
    model = loaded(make(spec, replace(spec.options()(), **TINY[name]), info), name)
    z, asked = model.sample_latent(2), {"from_prompt": "light top", "to_prompt": "dark"}
    start, end = conditions.ends(asked, model, 2) or pytest.fail("no walk")
    images = model.decode_between(z, start, end, 3)
    torch.testing.assert_close(images[:, 0], model.decode(z, start))
    torch.testing.assert_close(images[:, 2], model.decode(z, end))
    assert images[:, 1].ne(images[:, 0]).any()


def test_only_a_walk_has_ends() -> None:
    def names(parameters: list[Any]) -> set[str]:
        return {parameter.name for parameter in parameters}

    plain = names(conditions.parameters(("labels", "text"), "panel"))
    walk = names(conditions.of_a_walk(("labels", "text"), "panel"))
    assert walk - plain == {"from_label", "to_label", "from_prompt", "to_prompt"}
    assert plain < walk
    assert not names(conditions.of_a_walk(("source",), "panel")) - {"source"}
