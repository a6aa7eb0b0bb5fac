"""Nets for others: files of weights for timm and torchvision, and repositories on the Hugging Face hub."""
