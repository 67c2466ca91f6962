"""How the bundled model is trained: the planet, its captions, the three networks, the export."""
