"""What every command has in common: errors in its own words, and at once where they can be known at once."""
import json
import subprocess
import sys

import pytest

from reskeras.cli import as_options

BAD = [["cost", "resnset50"], ["page", "resnset50"], ["predict", "no.png", "--model", "cifar_resnet20.digits"],
       ["predict", "no.png", "--model", "cifar_resnet20"], ["explain", "no.png", "--model", "cifar_resnet20.digits"],
       ["evaluate", "cifar_resnet20.digit", "--data", "digits"], ["export", "cifar_resnet2", "net.tflite"],
       ["export", "resnet50", "net.tfl"], ["export", "no.keras", "net.tflite"]]


def test_errors_known_before_keras_starts():
    code = ("import sys, json; from reskeras.cli import main; codes = [main(c) for c in json.loads(sys.argv[1])];"
            "print(codes, sorted({'keras', 'tensorflow'} & set(sys.modules)))")
    found = subprocess.run([sys.executable, "-c", code, json.dumps(BAD)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{[2] * len(BAD)} []"
    errors = found.stderr.strip().splitlines()
    said = ["did you mean 'resnet50'", "did you mean", "no.png: no such file", "name one of its own: cifar_resnet20.",
            "no.png: no such file", "did you mean 'digits'", "did you mean 'cifar_resnet2", "did you mean '.tflite'",
            "no.keras: no such file"]
    assert len(errors) == len(BAD) and all(text in error for text, error in zip(said, errors)), errors


@pytest.mark.parametrize("error, said", [
    ("a guess would not show; give preprocess=, the row", "a guess would not show; give --preprocess, the row"),
    ("quantize='int8' needs calibration=images", "--quantize int8 needs --calibrate images"),
    ("put the file at /a/b, or give weights=None", "put the file at /a/b"),
    ("cc=True is defined for .tflite", "--cc is defined for .tflite"),
    ("size=(7, 8) is not the model's", "--size (7, 8) is not the model's"), ("input_size=3 stays", "input_size=3 stays")])
def test_errors_name_options(error, said):
    assert as_options(error) == said
