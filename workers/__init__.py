"""Everything that needs torch: models, denoising, decoding and super-resolution."""

import os

# Read when transformers is imported: without it every worker greets with notes about
# torchvision, which nothing here uses.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
