"""From image files and pixels to what a net takes, and from its scores to class names."""
