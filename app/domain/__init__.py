"""The pure core: plans, geometry, noise and merging; numpy and the standard library only."""
