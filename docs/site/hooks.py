"""What mkdocs runs: adds the generated pages to those of docs/, and mends links that leave the folder."""
from __future__ import annotations

import pathlib
import re
import sys
import tempfile
from typing import Any

from mkdocs.structure.files import File, Files

import reskeras
from reskeras.commands.tour import tour
from reskeras.variants import FAMILIES

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from api_pages import GROUPS  # noqa: E402
from net_pages import split_title  # noqa: E402
from pages import FROM_ROOT, make_pages  # noqa: E402


def on_config(config: Any) -> Any:
    """Adds the generated pages to the navigation."""
    for section in config.nav:
        for title, pages in section.items():
            if title == "Nets":
                pages += [{split_title(family)[0].partition(" (")[0]: f"nets/{family}.md"}
                          for family in FAMILIES]
            if title == "API":
                pages += [{title: f"api/{group}.md"} for group, (title, _) in GROUPS.items()]
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the generated pages, the tour and the comparison."""
    for path, text in make_pages().items():
        files.append(File.generated(config, path, content=text))
    with tempfile.TemporaryDirectory() as folder:
        reskeras.compare(family="all", literature=True, output=f"{folder}/compare.html")
        tour(f"{folder}/tour.html")
        for page in pathlib.Path(folder).iterdir():
            files.append(File.generated(config, f"pages/{page.name}", content=page.read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to the pages of the repository's root lead to their copies in the site."""
    return re.sub(r"\]\((?:\.\./)+([A-Z]+\.md)", lambda match: f"]({FROM_ROOT[match[1]]}", markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """A builder is an object that is called; readers know it by its name."""
    return html.replace(">__call__<", ">ResNet50<") if page.file.src_uri == "api/builders.md" else html


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """The search from files runs by our own script, so that no page loads anything from a server."""
    root = "../" * page.file.dest_uri.count("/")
    return output.replace('src="https://unpkg.com/iframe-worker/shim"', f'src="{root}site_search.js"')
