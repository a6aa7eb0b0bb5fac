"""A Keras model as a graph: read (`graph`), rewritten (`passes`), compared, counted (`cost`)."""
import keras  # noqa: F401  Keras first: importing it registers our layers, which imports from this package
