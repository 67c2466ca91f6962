import os

from hypothesis import settings

# Set before torch is imported: on a shared core its threads wait for each other, and a test of
# three seconds has taken a minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# These machines are shared: a deadline would measure the neighbours.
settings.register_profile("tilechord", deadline=None, max_examples=50)
settings.load_profile("tilechord")
