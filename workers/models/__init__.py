"""The bundled model and the code that trains, exports and measures it."""
