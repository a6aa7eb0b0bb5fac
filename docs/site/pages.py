"""The generated pages of the site, which the package's tables, docstrings and commands say all of."""
from __future__ import annotations

import pathlib

import api_pages
import checkpoint_pages
import embedded_pages
import net_pages

from reskeras.variants import FAMILIES, VARIANTS
from reskeras.weights.table import get_checkpoints

ROOT = pathlib.Path(__file__).parents[2]
# Pages of the repository's root, and what they are called in the site
FROM_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
             "SECURITY.md": "security_policy.md", "RELEASING.md": "releasing.md"}


def make_pages() -> dict[str, str]:
    """The generated pages: path in the site -> Markdown."""
    nets = [net for net in VARIANTS.values() if get_checkpoints(net.name)]
    return {
        **{f"nets/{family}.md": net_pages.make_family_page(family) for family in FAMILIES},
        **{f"checkpoints/{net.name}.md": checkpoint_pages.make_checkpoint_page(net) for net in nets},
        "checkpoints.md": checkpoint_pages.make_index(),
        **{f"api/{group}.md": api_pages.make_api_page(group) for group in api_pages.GROUPS},
        "api/builders.md": api_pages.make_builders_page(),
        "api/commands.md": api_pages.make_commands_page(),
        "comparison.md": embedded_pages.COMPARISON, "claims.md": embedded_pages.CLAIMS,
        **{path: (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
           for name, path in FROM_ROOT.items()}}
