"""From image files and pixels to what a net takes, and from its scores to class names."""
import keras  # noqa: F401  First, see _registration.py
