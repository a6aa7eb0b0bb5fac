"""A Keras model as a graph: reading, rewriting (`optimize`, `passes`), comparing (`equivalence`) and counting (`cost`)."""
import keras  # noqa: F401  Keras first: importing it registers our layers, which imports from this package
