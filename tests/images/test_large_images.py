"""Images of the largest cameras and scanners are classified in bounded memory."""
import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
import numpy as np
from PIL import Image
import reskeras

Image.MAX_IMAGE_PIXELS = None
folder = sys.argv[1]
rows = np.linspace(0, 255, 13_000).astype("uint8")
Image.fromarray(np.broadcast_to(rows[:, None, None], (13_000, 13_000, 3))).save(f"{folder}/a.png",
    compress_level=1)
Image.fromarray(np.broadcast_to(rows[:9_000, None, None], (9_000, 12_000, 3))).save(f"{folder}/b.jpg")
Image.fromarray(np.broadcast_to(rows[::400, None, None], (33, 33, 3))).save(f"{folder}/c.png")

reskeras.predict("cifar_resnet20.digits", f"{folder}/c.png")       # TensorFlow has started its threads
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(sys.argv[2]),) * 2)
print(json.dumps(reskeras.predict("cifar_resnet20.digits", folder)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("megabytes, are_read", [(2500, True), (300, False)])
def test_images_of_169_and_108_megapixels(megabytes, are_read, tmp_path):
    run = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path, str(megabytes * 2 ** 20)],
                         capture_output=True, text=True, timeout=300,
                         env={**os.environ, "MALLOC_ARENA_MAX": "1"})
    assert run.returncode == 0, run.stderr[-3000:]
    png, jpeg, small = json.loads(run.stdout.splitlines()[-1])
    assert "predictions" in small
    if are_read:        # a gradient from black to white, at any size
        assert png["predictions"][0]["label"] == small["predictions"][0]["label"] and "predictions" in jpeg
    else:
        assert png["error"] == jpeg["error"] == "not enough memory to decode it"
