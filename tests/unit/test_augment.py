"""What a discriminator is shown in place of the images themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from gencli.models.adversarial.augment import augmentation, cut_out, recoloured, shifted


def test_shifted_moves_every_image_by_its_own_few_pixels():
    torch.manual_seed(0)
    images = torch.rand(200, 2, 5, 4, requires_grad=True)
    moved = shifted(images, 1)
    padded = F.pad(images.detach(), (1, 1, 1, 1))
    windows = padded.unfold(2, 5, 1).unfold(3, 4, 1).flatten(2, 3)  # (200, 2, 9, 5, 4)
    fits = (windows == moved.detach().unsqueeze(2)).all(4).all(3).all(1)  # (200, 9)
    assert fits.any(1).all()
    assert (fits.sum(0) > 200 / 9 / 2).all()
    moved.sum().backward()
    assert images.grad[:, :, 1:-1, 1:-1].eq(1).all()  # what no shift moves out


def test_cut_out_hides_a_square_anywhere():
    torch.manual_seed(0)
    images = torch.ones(400, 3, 7, 5)
    hidden = cut_out(images, 3) == 0.5
    assert hidden.all(1).equal(hidden.any(1))  # of all channels
    rows, columns = hidden[:, 0].any(2), hidden[:, 0].any(1)
    assert hidden[:, 0].equal(rows[:, :, None] & columns[:, None, :])
    for along in (rows, columns):
        size = along.sum(1)
        assert size.min() == 2  # at the border a part is outside
        assert size.max() == 3
        changes = (along[:, 1:] != along[:, :-1]).sum(1)
        assert changes.max() == 2  # in one piece
        assert along.float().mean(0).min() > 0.2  # everywhere


def test_recoloured_changes_brightness_saturation_and_contrast_of_each_image():
    torch.manual_seed(0)
    flat = torch.full((300, 3, 4, 4), 0.3)
    changed = recoloured(flat) - flat
    torch.testing.assert_close(changed, changed[:, :1, :1, :1].expand_as(changed))
    assert -0.5 < float(changed.min()) < -0.4
    assert 0.4 < float(changed.max()) < 0.5
    images = torch.rand(1, 3, 4, 4).expand(300, 3, 4, 4)
    many = recoloured(images)
    grey = many.mean(1, keepdim=True)
    before = images.mean(1, keepdim=True)
    contrast = grey.flatten(1).std(1) / before.flatten(1).std(1)
    assert 0.5 <= float(contrast.min()) < 0.6
    assert 1.4 < float(contrast.max()) <= 1.5
    colour = (many - grey).flatten(1).std(1) / (images - before).flatten(1).std(1) / contrast
    assert 0 <= float(colour.min()) < 0.1
    assert 1.9 < float(colour.max()) <= 2


def test_augmentation_is_what_is_asked_for_and_gradients_come_through():
    assert augmentation(0, 0, False) is None
    images = torch.rand(8, 3, 8, 8, requires_grad=True)
    augment = augmentation(2, 4, True)
    assert augment is not None
    torch.manual_seed(1)
    shown = augment(images)
    torch.manual_seed(1)
    expected = cut_out(shifted(recoloured(images), 2), 4)
    assert shown.equal(expected)
    (gradient,) = torch.autograd.grad(shown.square().sum(), images)
    assert (gradient != 0).flatten(1).any(1).all()
