"""Latent-variable models: images are decoded from a latent space with a simple prior."""
