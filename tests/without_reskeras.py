"""The first lines of a process that has TensorFlow and not this package, as a server."""

START = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "reskeras":
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np, tensorflow as tf
"""
