from tests.unit.workers.conftest import (
    catalogue,
    families,
    family_folders,
    family_model,
    sd3_model,
    sdxl_model,
    tiny,
    tiny_folder,
)

__all__ = [
    "catalogue",
    "families",
    "family_folders",
    "family_model",
    "sd3_model",
    "sdxl_model",
    "tiny",
    "tiny_folder",
]
