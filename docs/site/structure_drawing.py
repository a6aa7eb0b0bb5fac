"""A net's stages as a drawing (SVG), read from its Spec."""
from __future__ import annotations

from html import escape

from reskeras.spec import AnySpec, InceptionSpec

_WIDTH, _HEIGHT, _GAP, _MARGIN = 440, 34, 16, 2


def draw_structure(title: str, spec: AnySpec) -> str:
    """The drawing of a net: image, stem, stages and classifier from top to bottom, with their choices.

    Args:
        title: the name of the net, for readers that do not see the drawing.
        spec: what the net is made of.
    """
    boxes = _inception_boxes(spec) if isinstance(spec, InceptionSpec) else _residual_boxes(spec)
    parts, middle = [], _MARGIN + _WIDTH / 2
    for i, (heading, *facts) in enumerate(boxes):
        y = _MARGIN + i * (_HEIGHT + _GAP)
        if i:
            parts.append(f'<path d="M{middle} {y - _GAP + 1}v{_GAP - 3}m-4 -5l4 5l4 -5"/>')
        parts += [f'<rect x="{_MARGIN}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
                  f'<text x="{_MARGIN + 14}" y="{y + 22}" class="heading">{escape(heading)}</text>',
                  f'<text x="{_MARGIN + 110}" y="{y + 22}">{escape(", ".join(facts))}</text>']
    height = len(boxes) * (_HEIGHT + _GAP) - _GAP + 2 * _MARGIN
    return (f'<svg class="structure" role="img" aria-label="Structure of {escape(title)}" '
            f'viewBox="0 0 {_WIDTH + 2 * _MARGIN} {height}">{"".join(parts)}</svg>')


def _residual_boxes(spec: AnySpec) -> list[tuple[str, ...]]:
    """Heading and lines of each box."""
    stems = {"conv7": "7x7, stride 2", "deep": "three 3x3, stride 2", "tiered": "three 3x3, stride 2",
             "cifar": "3x3"}
    pools = {"max": "max pool", "max_zero_pad": "max pool", "max_ceil": "max pool", "conv": "3x3, stride 2",
             "none": "no pool"}
    boxes = [("image", f"{spec.input_size} x {spec.input_size}"),
             ("stem", stems[spec.stem], pools[spec.pool])]
    for i, (depth, kind, stride) in enumerate(zip(spec.depths, spec.blocks, spec.strides)):
        boxes.append((f"stage {i + 1}", f"{depth} {kind} block{'s' * (depth > 1)}",
                      f"{spec.out_channels[i]:,} channels", f"stride {stride}"))
    return [*boxes, ("classifier", "mean of the map", f"{spec.classes:,} classes")]


def _inception_boxes(spec: InceptionSpec) -> list[tuple[str, ...]]:
    kind = "Inception" if spec.version == "v4" else "Inception-ResNet"
    stages = [(f"stage {name}", f"{depth} blocks", kind) for name, depth in zip("ABC", spec.depths)]
    return [("image", f"{spec.input_size} x {spec.input_size}"), ("stem", "seven 3x3 or more"), *stages,
            ("classifier", "mean of the map", f"{spec.classes:,} classes")]
