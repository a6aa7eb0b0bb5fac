"""Stages and blocks of a net: from the names of its layers if these tell, otherwise from the graph."""
from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from typing import Sequence

from .execution_plan import ExecutionPlan, LayerCall
from .receptive_field import ReceptiveField

StageAndBlock = tuple[str, str]
NAME_SCHEMES = (re.compile(r"(conv\d+)_(block\d+)(?:_|$)"),
                re.compile(r"(.*?stage_?\d+)_([a-z]*block_?\d+)(?:_|$)", re.I))
# "block35_1_conv", "block_3_expand", "block2a_se_squeeze"; but conv2d_7 is Keras' counter
BLOCK_PREFIX = re.compile(r"(?!conv\dd)([a-z]*_?\d+[a-z]?(?:_\d+)?)_", re.I)
LONG_PART = 100
STEM, HEAD = ("stem", "stem"), ("head", "head")


def assign_stages(plan: ExecutionPlan, fields: Sequence[ReceptiveField | None]) -> list[StageAndBlock]:
    """Finds the stage and the block of every step.

    Args:
        plan: the steps of a model.
        fields: the receptive field of every tensor, whose stride gives the stages of a net with other layer
            names.

    Returns:
        For each step a pair such as ("conv2", "conv2_block1"), ("stem", "stem") or ("stride 8", "mixed3").
    """
    return _stages_from_names(plan) or _stages_from_graph(plan, fields)


def _base_name(step: LayerCall) -> str:
    """The layer's name, without the models that it is nested in."""
    return step.name.rpartition("/")[2]


def _stages_from_names(plan: ExecutionPlan) -> list[StageAndBlock]:
    """Reads names such as conv2_block1_1_conv; [] if fewer than half of the layers have one."""
    steps = plan.steps
    for scheme in NAME_SCHEMES:
        matches = [scheme.match(_base_name(step)) for step in steps]
        if 2 * sum(map(bool, matches)) > len(steps):
            return _fill_gaps(plan, [(m[1], f"{m[1]}_{m[2]}") if m else None for m in matches])
    return []


def _fill_gaps(plan: ExecutionPlan, stages: list[StageAndBlock | None]) -> list[StageAndBlock]:
    """Puts every step into a stage.

    The steps before all blocks are the stem, the steps after them the head.  A layer between them without a
    stage gets the stage of the layer that reads it.
    """
    steps = plan.steps
    marked = [i for i, stage in enumerate(stages) if stage]
    stages[:marked[0]] = [STEM] * marked[0]
    stages[marked[-1] + 1:] = [HEAD] * (len(steps) - marked[-1] - 1)

    first_reader = {tensor: i for i, step in reversed(list(enumerate(steps))) for tensor in step.inputs}
    maker = {tensor: i for i, step in enumerate(steps) for tensor in step.outputs}
    for i, step in enumerate(steps):
        made_by = maker[step.inputs[0]] if step.inputs else i
        stages[i] = stages[i] or stages[first_reader.get(step.outputs[0], i)] or stages[made_by]
    return [stage or HEAD for stage in stages]


def _stages_from_graph(plan: ExecutionPlan, fields: Sequence[ReceptiveField | None]) -> list[StageAndBlock]:
    """Finds blocks between layers that every path goes through; blocks of one stride are a stage."""
    uses: Counter[str] = Counter()
    result: list[StageAndBlock] = []
    for part in _find_parts(plan, fields):
        common = Counter(filter(None, map(_block_prefix, part))).most_common(1)
        block = common[0][0] if common else _base_name(part[-1])
        uses[block] += 1
        block += f" ({uses[block]})" if uses[block] > 1 else ""

        if len(part) < LONG_PART:
            result += [(_stage_name(fields[part[-1].outputs[0]]), block)] * len(part)
        else:       # a net whose paths go around its blocks, such as NASNet: here each step is a block
            stages = [_stage_name(fields[step.outputs[0]]) for step in part]
            result += zip(stages, stages)
    return result


def _block_prefix(step: LayerCall) -> str:
    """The beginning of the names of a block's layers; "" if the name has none."""
    match = BLOCK_PREFIX.match(_base_name(step))
    return match[1] if match else ""


def _stage_name(field: ReceptiveField | None) -> str:
    return f"stride {max(field.stride)}" if field else "head"


def _find_parts(plan: ExecutionPlan, fields: Sequence[ReceptiveField | None]) -> list[list[LayerCall]]:
    """Cuts the steps into branching parts and plain runs; joins successive parts with one prefix."""
    parts: list[list[LayerCall]] = []
    is_branching = False
    for piece in _cut_at_bottlenecks(plan):
        last, continues = (parts[-1] if parts else None), False
        if last is not None and len(piece) == 1:
            # the activation after an addition
            is_tail = not getattr(piece[0].layer, "weights", ()) and is_branching
            is_run = not is_branching and not _block_prefix(piece[0])
            same_stage = _stage_name(fields[last[-1].outputs[0]]) == _stage_name(fields[piece[0].outputs[0]])
            continues = _is_entry(last) or (same_stage and (is_tail or is_run))
        if last is not None and (continues or _has_same_prefix(last, piece)):
            last += piece
            is_branching = is_branching or len(piece) > 1
        else:
            parts.append(list(piece))
            is_branching = len(piece) > 1
    return parts


def _is_entry(part: list[LayerCall]) -> bool:
    return len(part) == 1 and not part[0].inputs


def _has_same_prefix(last: list[LayerCall], piece: list[LayerCall]) -> bool:
    mine, theirs = ({_block_prefix(step) for step in part if step.inputs} for part in (last, piece))
    return len(mine) == 1 and mine == theirs and mine != {""}


def _cut_at_bottlenecks(plan: ExecutionPlan) -> list[list[LayerCall]]:
    """Cuts the steps into pieces; no tensor goes past the last step of a piece."""
    steps = plan.steps
    last_read = {tensor: i for i, step in enumerate(steps) for tensor in step.inputs}
    last_read |= {tensor: len(steps) for tensor in plan.outputs}

    number, reach, pieces = 0, 0, []
    for i, step in enumerate(steps):
        pieces.append(number)
        if reach <= i:
            number += 1
        reach = max([reach, *(last_read.get(tensor, i) for tensor in step.outputs)])
    return [[step for _, step in group] for _, group in groupby(zip(pieces, steps), key=lambda pair: pair[0])]
