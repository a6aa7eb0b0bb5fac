"""The pages that show what `reskeras compare` and `reskeras tour` write."""

COMPARISON = """\
# Comparison

Published top-1 accuracy against multiply-accumulates and parameters, for every net of the table with
published ImageNet-1k weights, and a few nets of other families with the numbers of their papers. You write
this page with `reskeras compare --family all --literature -o compare.html`; add `--latency` to time each net
on your machine.

[Open the page alone](pages/compare.html).

<iframe class="page" src="pages/compare.html" title="Comparison of all nets"></iframe>
"""

CLAIMS = """\
# The papers' claims, measured again

Each chapter is about one claim of a paper, at a small size, with the command that measures it again. What is
said of trainings has the number of seeds, an interval and a verdict. You write this page with
`reskeras tour -o tour.html`.

[Open the page alone](pages/tour.html).

<iframe class="page" src="pages/tour.html" title="Claims of the papers"></iframe>
"""
