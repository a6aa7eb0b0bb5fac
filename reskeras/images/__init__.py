"""From image files and pixels to what a net takes, and from its scores to class names."""
import keras  # noqa: F401  First, so that its import is complete when a module of this folder starts: see _registration.py
