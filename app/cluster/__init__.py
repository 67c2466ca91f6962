"""A whole tilechord on this machine: private servers, workers and Flower, without containers.

``make up`` and the tests use the same functions, so what the tests prove is what a user runs.
Every process listens on loopback only and keeps its files below one folder.
"""
