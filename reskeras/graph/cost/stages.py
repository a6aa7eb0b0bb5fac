"""Stages and blocks: from layer names where they say so, else from the graph itself."""
from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from typing import Sequence

from .receptive_field import View
from .execution_plan import Plan, Step

Section = tuple[str, str]       # stage, block
SCHEMES = (re.compile(r"(conv\d+)_(block\d+)(?:_|$)"), re.compile(r"(.*?stage_?\d+)_([a-z]*block_?\d+)(?:_|$)", re.I))
# "block35_1_conv", "block_3_expand", "block2a_se_squeeze"; but conv2d_7 is Keras' counter
TOKEN = re.compile(r"(?!conv\dd)([a-z]*_?\d+[a-z]?(?:_\d+)?)_", re.I)
LONG = 100


def sections(plan: Plan, views: Sequence[View | None]) -> list[Section]:
    """The stage and the block of every step, as in ("conv2", "conv2_block1"), ("stem", "stem") or ("stride 8", "mixed3")."""
    return named(plan) or found(plan, views)


def own(step: Step) -> str:
    """The layer's name, outside of the model it is nested in."""
    return step.name.rpartition("/")[2]


def named(plan: Plan) -> list[Section]:
    """By names such as conv2_block1_1_conv; [] where fewer than half of the layers have one."""
    steps = plan.steps
    for scheme in SCHEMES:
        matches = [scheme.match(own(step)) for step in steps]
        marked = [i for i, match in enumerate(matches) if match]
        if 2 * len(marked) > len(steps):
            known: list[Section | None] = [(m[1], f"{m[1]}_{m[2]}") if m else None for m in matches]
            known[:marked[0]] = [("stem", "stem")] * marked[0]
            known[marked[-1] + 1:] = [("head", "head")] * (len(steps) - marked[-1] - 1)
            reader = {tensor: i for i, step in reversed(list(enumerate(steps))) for tensor in step.reads}
            maker = {tensor: i for i, step in enumerate(steps) for tensor in step.makes}
            for i, step in enumerate(steps):        # an unnamed layer belongs where it is read
                made_by = maker[step.reads[0]] if step.reads else i
                known[i] = known[i] or known[reader.get(step.makes[0], i)] or known[made_by]
            return [section or ("head", "head") for section in known]
    return []


def found(plan: Plan, views: Sequence[View | None]) -> list[Section]:
    """Blocks are what lies between two layers that every path goes through; stages are blocks of one stride."""
    used: dict[str, int] = {}
    result: list[Section] = []
    for part in parts(plan, views):
        common = Counter(filter(None, map(_token, part))).most_common(1)
        label = common[0][0] if common else own(part[-1])
        used[label] = used.get(label, 0) + 1
        label += f" ({used[label]})" if used[label] > 1 else ""
        # a part of hundreds of layers is a net whose paths pass by its blocks, as NASNet's: then each step counts for itself
        ends = [part[-1]] * len(part) if len(part) < LONG else part
        result += [(where, label if len(part) < LONG else where) for where in (stage(views[end.makes[0]]) for end in ends)]
    return result


def _token(step: Step) -> str:
    """What the names of a block's layers begin with, "" where they do not say."""
    match = TOKEN.match(own(step))
    return match[1] if match else ""


def stage(view: View | None) -> str:
    return f"stride {max(view.stride)}" if view else "head"


def parts(plan: Plan, views: Sequence[View | None]) -> list[list[Step]]:
    """The steps cut into branching parts and plain runs; parts of one name are one."""
    joined: list[list[Step]] = []
    branching = False
    for cut in _between_cuts(plan):
        last, runs_on = (joined[-1] if joined else None), False
        if last is not None and len(cut) == 1:
            tail = not getattr(cut[0].layer, "weights", ()) and branching      # the activation behind an addition
            run = not branching and not _token(cut[0])
            runs_on = _is_entry(last) or (stage(views[last[-1].makes[0]]) == stage(views[cut[0].makes[0]]) and (tail or run))
        if last is not None and (runs_on or _same_token(last, cut)):
            last += cut
            branching = branching or len(cut) > 1
        else:
            joined.append(list(cut))
            branching = len(cut) > 1
    return joined


def _is_entry(part: list[Step]) -> bool:
    return len(part) == 1 and not part[0].reads


def _same_token(last: list[Step], cut: list[Step]) -> bool:
    mine, theirs = ({_token(step) for step in part if step.reads} for part in (last, cut))
    return len(mine) == 1 and mine == theirs and mine != {""}


def _between_cuts(plan: Plan) -> list[list[Step]]:
    """Each part ends with a step that no tensor of an earlier one passes by."""
    steps = plan.steps
    last_read = {tensor: i for i, step in enumerate(steps) for tensor in step.reads} | {t: len(steps) for t in plan.outputs}
    number, reach, cuts = 0, 0, []
    for i, step in enumerate(steps):
        cuts.append(number)
        if reach <= i:
            number += 1
        reach = max([reach, *(last_read.get(tensor, i) for tensor in step.makes)])
    return [[step for _, step in group] for _, group in groupby(zip(cuts, steps), key=lambda pair: pair[0])]
