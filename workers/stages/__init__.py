"""The stages of a render that need a model; one module each."""
