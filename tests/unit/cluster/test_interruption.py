"""SIGTERM in processes of their own."""

import signal
import subprocess
import sys
import textwrap

SCRIPT = """
import signal, sys, time
from cluster.interruption import handlers_kept, sigterm_as_ctrl_c
sigterm_as_ctrl_c()
with handlers_kept():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))  # as ray.init does
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("tidying", flush=True)
    time.sleep(1)
    print("tidy", flush=True)
    sys.exit(130)
"""


def test_sigterm_is_a_ctrl_c_and_a_second_one_does_not_disturb_the_tidying():
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "tidy\n"
    assert process.returncode == 130
