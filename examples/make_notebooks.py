"""Makes the notebooks of `examples/notebooks` and `examples/lecture` (*.ipynb) from the scripts beside them.

    python examples/make_notebooks.py               # runs all of them at a tiny size; compares their cells
    python examples/make_notebooks.py unet          # one of them
    python examples/make_notebooks.py --write       # writes them, with the outputs of the tiny run

A script has cells (`# %%`, Jupytext's percent format).  Cells of text with lang="en" or lang="zh" go into the
notebook of that language alone, so a lecture is one script and two notebooks.  Needs jupytext and nbclient.
"""
from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).parent
COLAB = "https://colab.research.google.com/github/reskeras/reskeras/blob/main/examples"
MAX_BYTES = 150_000         # of a notebook with its outputs


def list_notebooks(script: pathlib.Path) -> dict[pathlib.Path, str]:
    """The notebooks of a script, with the language of each ("" if the script has one alone)."""
    if script.parent.name != "lecture":
        return {script.with_suffix(".ipynb"): ""}
    return {script.with_suffix(f".{language}.ipynb"): language for language in ("en", "zh")}


def make_notebook(path: pathlib.Path, script: pathlib.Path, language: str) -> nbformat.NotebookNode:
    """A notebook without outputs: the cells of one language, with a link that opens it in Colab."""
    notebook = jupytext.read(script)
    notebook.cells = [cell for cell in notebook.cells
                      if cell.metadata.pop("lang", language) == language or not language]
    link = nbformat.v4.new_markdown_cell(f"[Open in Colab]({COLAB}/{path.relative_to(FOLDER)})")
    notebook.cells.insert(1, link)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"          # the same in each run
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def execute(notebook: nbformat.NotebookNode) -> None:
    """Runs the cells in a new folder, at the size of the tests; warnings and logs are no outputs."""
    os.environ |= {"RESKERAS_TINY": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
                   "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"
                            and "INFO:tensorflow" not in output.get("text", "")]


def list_cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """Kind and text of each cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def copy_outputs(source: nbformat.NotebookNode, target: nbformat.NotebookNode) -> None:
    """Gives a notebook the outputs of another one with the same code."""
    codes = ([cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (source, target))
    for one, other in zip(*codes, strict=True):
        other.outputs, other.execution_count = one.outputs, one.execution_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="parts of the scripts' paths; by default all")
    parser.add_argument("--write", action="store_true", help="write the notebooks")
    options = parser.parse_args()
    wrong, executed = [], None
    for script in sorted([*FOLDER.glob("notebooks/*.py"), *FOLDER.glob("lecture/*.py")]):
        if options.names and not any(name in str(script) for name in options.names):
            continue
        for number, (file, language) in enumerate(list_notebooks(script).items()):
            notebook = make_notebook(file, script, language)
            if number:                  # the same code in another language
                copy_outputs(executed, notebook)
            else:
                execute(notebook)
                executed = notebook
            text = nbformat.writes(notebook) + "\n"
            print(file.relative_to(FOLDER), f"{len(text):,} bytes", flush=True)
            if options.write:
                file.write_text(text, encoding="utf-8")
            elif list_cells(nbformat.read(file, 4)) != list_cells(notebook):
                wrong.append(f"{file.name} is not made from {script.name}: run this with --write")
            wrong += [f"{file.name} has {len(text):,} bytes"] if len(text) > MAX_BYTES else []
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
