import keras  # noqa: F401  Keras first: importing it registers our layers, which imports from this package
