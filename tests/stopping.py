"""What stops a training amid an epoch, for tests that resume it."""
import keras


class StopInSecondEpoch(keras.callbacks.Callback):
    """Stops at the second batch of the second epoch, as Ctrl-C does."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            raise KeyboardInterrupt
