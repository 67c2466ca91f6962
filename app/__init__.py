"""tilechord: distributed tiled image generation. Everything here runs without torch."""

__version__ = "0.1.0"
