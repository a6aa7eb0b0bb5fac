"""`resume` with another number of epochs: a training goes on beyond its end, or ends earlier."""
from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping

from ..errors import ArgumentError
from .arguments import FitArguments
from .phases import plan_phases
from .resumed_run import ResumedRun
from .run_info import Continuation
from .learning_rate import scale_learning_rate
from .training import convert_value


def change_length(resumed: ResumedRun, arguments: FitArguments) -> FitArguments:
    """Takes a new number of epochs, or of steps, into what is known of a run that is resumed.

    Args:
        resumed: the run; its information then has the new length.
        arguments: those that were given to resume it.

    Returns:
        The arguments, to compare with those that the run was started with.

    Raises:
        ArgumentError: for the other unit, and for fewer epochs or steps than are done.
    """
    training, rest = resumed.training, dict(arguments.overrides)
    unit = training.unit
    other = "epochs" if unit == "steps" else "steps"
    if rest.get(other):
        raise ArgumentError(other, rest[other], f"{unit} instead, in which the training in "
                            f"{resumed.run.folder} counts")
    if unit not in rest:
        _clear_stop(resumed)
        return arguments
    before, after = getattr(training, unit), convert_value(unit, rest.pop(unit), "int")
    if after != before:
        _record_change(resumed, before, after)
    _clear_stop(resumed)
    is_saved = unit in resumed.info["arguments"]["overrides"]
    return dataclasses.replace(arguments, overrides={**rest, unit: after} if rest and is_saved else rest)


def _record_change(resumed: ResumedRun, before: int, after: int) -> None:
    """Takes a new length into the information and the state of a run.  Raises: see `change_length`."""
    training, info = resumed.training, resumed.info
    unit, steps_per_epoch = training.unit, _find_steps_per_epoch(info)
    batches = _count_batches(resumed, steps_per_epoch)
    done = math.ceil(batches / (steps_per_epoch if training.epochs else info["arguments"]["micro_batches"]))
    if after < max(done, 1):
        raise ArgumentError(unit, after, f"at least {done}, the {unit} that the training in "
                            f"{resumed.run.folder} has done")
    info["continued"] = [*info.get("continued", ()), dataclasses.asdict(_describe(resumed, before, after))]
    info["recipe"]["training"][unit] = after
    info["recipe"]["sources"] = {**info["recipe"]["sources"], unit: "given"}
    info["arguments"]["overrides"] = {**info["arguments"]["overrides"], unit: after}
    resumed.is_changed = True


def _clear_stop(resumed: ResumedRun) -> None:
    """Lets a run go on that had ended without progress, if it was made longer after that."""
    state, changes = resumed.state, resumed.info.get("continued", ())
    if state.is_stopped and changes and changes[-1]["epochs_done"] == state.epoch:
        state.is_stopped = False
        state.continued_at.append(state.epoch)


def find_ended(info: Mapping[str, Any]) -> tuple[int, int]:
    """The argument `ended` of `plan_phases` for a run.

    Args:
        info: what run.json says of it.
    """
    last = next((c for c in reversed(info.get("continued", ())) if c.get("steps_done")), None)
    if last is None:
        return 0, 0
    return last["epochs_done"] - info["recipe"]["training"]["head_epochs"], last["steps_done"]


def _find_steps_per_epoch(info: Mapping[str, Any]) -> int:
    batch_size = info["recipe"]["training"]["batch_size"] // info["arguments"]["micro_batches"]
    return int(info["data"]["images"] // batch_size)


def _count_batches(resumed: ResumedRun, steps_per_epoch: int) -> int:
    """The batches of the phase that trains all layers that are done."""
    training, state = resumed.training, resumed.state
    if state.epoch < training.head_epochs:
        return 0
    epochs_ended, steps_ended = find_ended(resumed.info)
    epochs = state.epoch - training.head_epochs - epochs_ended
    steps = steps_ended + epochs * steps_per_epoch
    steps += steps_per_epoch if state.logs is not None else state.step
    if training.epochs:
        return steps
    return min(steps, training.steps * int(resumed.info["arguments"]["micro_batches"]))


def _describe(resumed: ResumedRun, before: int, after: int) -> Continuation:
    """What run.json says of a change of length."""
    training, state = resumed.training, resumed.state
    micro_batches = resumed.info["arguments"]["micro_batches"]
    steps_per_epoch = _find_steps_per_epoch(resumed.info)
    batches, ended = _count_batches(resumed, steps_per_epoch), find_ended(resumed.info)
    is_amid = (training.unit == "steps" and batches == before * micro_batches
               and (batches - ended[1]) % steps_per_epoch != 0)

    rates = []
    for length, batch in ((before, max(batches - 1, 0)), (after, batches)):
        unit: dict[str, Any] = {training.unit: length}
        changed = dataclasses.replace(training, **unit)
        rate = scale_learning_rate(changed).value
        schedule = plan_phases(changed, steps_per_epoch, rate, micro_batches)[-1].learning_rate
        rates.append(float(schedule(batch)) if callable(schedule) else rate)
    text = f"{training.unit}={after} instead of {before}, from epoch {state.epoch + 1} on: the learning rate "
    if not callable(schedule):
        text += f"goes on as before, because the schedule is {training.schedule!r}"
    else:
        text += (f"was {rates[0]:.6g} and is now {rates[1]:.6g}, as a training of {after} {training.unit} "
                 "has it there")
    return Continuation(training.unit, before, after, state.epoch, batches if is_amid else 0, text)
