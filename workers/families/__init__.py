"""What sets one kind of model apart; guidance, sampling and tiles are the same for all."""

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

# Loading is announced by our own log line; the libraries' bars and notes would hide it. Set
# before the pipelines are imported, which is when they note what else could be installed.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)  # its errors are raised as well
diffusers_logging.disable_progress_bar()
