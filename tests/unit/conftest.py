from hypothesis import settings

# These machines are shared: a deadline would measure the neighbours.
settings.register_profile("tilechord", deadline=None, max_examples=50)
settings.load_profile("tilechord")
