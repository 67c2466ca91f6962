"""Everything that needs torch: models, denoising, decoding and super-resolution."""
