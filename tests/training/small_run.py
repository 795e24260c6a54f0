"""Settings of a long run of small networks, as objects and as its file."""

from __future__ import annotations

from icm_train.learning.recipe import Recipe
from icm_train.long_run.config import LongRunConfig
from icm_train.models.networks import NetworkConfig

SMALL = NetworkConfig(
    blocks="gated", luma=24, chroma=4, encoder_wide=16, encoder_deep=16, decoder_deep=16, decoder_wide=16,
    decoder_fine=16, encoder_wide_blocks=1, encoder_deep_blocks=1, decoder_deep_blocks=1, decoder_wide_blocks=2,
    decoder_fine_blocks=1, hyper=8, hyper_hidden=16,
)  # fmt: skip
CONFIG = LongRunConfig(SMALL, Recipe(batch=8, crop=64, warmup=5), save_every=5, measure_every=1000)
CONFIG_YAML = """
network: {blocks: gated, luma: 24, chroma: 4, encoder_wide: 16, encoder_deep: 16, decoder_deep: 16, decoder_wide: 16,
  decoder_fine: 16, encoder_wide_blocks: 1, encoder_deep_blocks: 1, decoder_deep_blocks: 1, decoder_wide_blocks: 2,
  decoder_fine_blocks: 1, hyper: 8, hyper_hidden: 16}
recipe: {batch: 8, crop: 64, warmup: 5}
save_every: 5
"""
