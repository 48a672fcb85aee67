"""Ray as a service: sessions, fan-out over actor pools, resources, metrics. Knows nothing of images."""

import os

# Ray reads this when it is first imported. Without it, a stray call after a shutdown starts a second Ray in silence.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
