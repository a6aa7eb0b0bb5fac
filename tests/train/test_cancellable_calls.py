"""A call is ended by another thread, and no other call with it."""
import threading
import time

import pytest
import tensorflow as tf

from reskeras.train.cancellable_calls import make_cancellable, make_cancellation


def test_a_call_that_waits_is_ended_and_others_are_not():
    queues, cancellation = [tf.queue.FIFOQueue(1, [tf.int64]) for _ in range(2)], make_cancellation()
    get_next, ended = make_cancellable(queues[0].dequeue, cancellation), []
    queues[0].enqueue(7)
    assert int(get_next()) == 7

    def wait():
        with pytest.raises(tf.errors.CancelledError):
            get_next()
        ended.append(True)
    threads = [threading.Thread(target=wait),
               threading.Thread(target=lambda: ended.append(int(tf.function(queues[1].dequeue)())))]
    for thread in threads:
        thread.start()
        time.sleep(0.5)
    assert not ended
    cancellation.start_cancel()
    threads[0].join(10)
    assert ended == [True]
    queues[1].enqueue(8)
    threads[1].join(10)
    assert ended == [True, 8]


def test_a_structure_comes_as_it_is():
    call = make_cancellable(lambda: (tf.constant(1), [tf.constant(2.0), {"a": tf.constant("b")}]),
                            make_cancellation())
    one, (two, rest) = call()
    assert (int(one), float(two), rest["a"].numpy()) == (1, 2.0, b"b")
