"""Which model is meant by another name of the field, and which suit some data."""

from __future__ import annotations

KIN: dict[str, str] = {
    **dict.fromkeys(
        (
            *("diffusion", "ddim", "dpm", "edm", "score", "ncsn", "score-sde", "stable-diffusion"),
            *("ldm", "latent-diffusion", "imagen", "dalle", "consistency"),
            *("dit", "unet", "denoising-diffusion", "iddpm", "glide"),
        ),
        "ddpm",
    ),
    **dict.fromkeys(("cfm", "stochastic-interpolants", "sit", "reflow"), "flow-matching"),
    **dict.fromkeys(("acgan", "infogan", "conditional-gan", "projection-gan", "stargan"), "cgan"),
    **dict.fromkeys(("attngan", "stackgan-v2"), "stackgan"),
    **dict.fromkeys(("text2image", "text-to-image", "gan-int", "gan-int-cls"), "gan-cls"),
    **dict.fromkeys(
        (
            *("cyclegan", "spade", "unit", "discogan", "pix2pixhd", "bicyclegan", "srgan"),
            *("image2image", "image-to-image", "colorization", "super-resolution", "palette"),
        ),
        "pix2pix",
    ),
    **dict.fromkeys(
        (
            *("stylegan", "stylegan2", "stylegan3", "progan", "pggan", "biggan"),
            *("lapgan", "gigagan", "msggan", "r3gan"),
        ),
        "dcgan",
    ),
    **dict.fromkeys(("sngan", "sagan", "hingegan", "wgan-div", "dragan", "wgan-lp"), "wgan-gp"),
    **dict.fromkeys(
        (
            *("beta-vae", "cvae", "vqvae", "vq-vae", "vq-vae-2", "vqgan"),
            *("iwae", "nvae", "vdvae", "ladder-vae", "factor-vae", "aae", "wae", "vae-gan"),
            *("variational-autoencoder", "mae"),
        ),
        "vae",
    ),
    **dict.fromkeys(
        (
            *("pixelcnn++", "pixelsnail", "gated-pixelcnn", "autoregressive"),
            "conditional-pixelcnn",
        ),
        "pixelcnn",
    ),
    **dict.fromkeys(
        ("imagegpt", "igpt", "gpt", "image-transformer", "sparse-transformer", "var"), "transformer"
    ),
    **dict.fromkeys(("row-lstm", "diagonal-bilstm"), "pixelrnn"),
    **dict.fromkeys(("glow", "realnvp", "nice", "maf", "iaf", "flow", "orderless-nade"), "made"),
    **dict.fromkeys(
        (
            *("cae", "sae", "rae", "denoising-autoencoder", "contractive-autoencoder"),
            *("sparse-autoencoder", "stacked-autoencoder", "k-sparse"),
        ),
        "autoencoder",
    ),
    **dict.fromkeys(("principal-components", "sparse-pca", "linear-gaussian"), "ppca"),
    **dict.fromkeys(("fa", "factors", "ica"), "factor-analysis"),
    **dict.fromkeys(("ebm", "energy", "crbm"), "rbm"),
    **dict.fromkeys(("hopfield", "bm", "ising", "boltzmann-machine"), "boltzmann"),
    **dict.fromkeys(("deep-boltzmann", "deep-boltzmann-machine"), "dbm"),
    **dict.fromkeys(("wake-sleep", "rws", "vimco", "nvil", "belief-network", "darn"), "sbn"),
    **dict.fromkeys(("kmeans", "k-means", "em", "mixture-model", "mog", "gaussian"), "mixture"),
}
"""Another name -> the model of the table that is nearest to it in kind."""


def squeezed(name: str) -> str:
    """A name without what people write in different ways: WGAN_GP and wgan-gp are one."""
    return "".join(character for character in name.lower() if character not in "-_ ")


_SQUEEZED = {squeezed(name): model for name, model in KIN.items()}


def nearest_kind(name: str) -> str | None:
    """The model nearest in kind to one that is not there, if it is a name of the field."""
    return _SQUEEZED.get(squeezed(name))


def suited(*, binary: bool, small_grey: bool, classes: bool, few: bool) -> list[tuple[str, str]]:
    """Models that suit images, the likeliest first, each with options that go with it.

    Args:
        binary: Whether pixels are 0 or 1.
        small_grey: Whether images have one channel and are small.
        classes: Whether there are several.
        few: Whether the images are too few for a discriminator not to learn them by heart.
    """
    if binary:
        return [("made", ""), ("pixelcnn", ""), ("rbm", "")]
    vae, dcgan = ("vae", ""), ("dcgan", " --augment 2" if few else "")
    ddpm = ("ddpm", " --conditional" if classes else "")
    models = [vae, dcgan, ddpm] if small_grey else [dcgan, ddpm, vae]
    if classes:
        models.insert(1, ("cgan", ""))
    return models
