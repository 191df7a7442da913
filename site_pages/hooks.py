"""What mkdocs calls: the tree of pages, and their contents in place of what lies in docs/."""

import functools
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from site_pages import tree


@functools.cache
def _site() -> tree.Site:
    return tree.build()


def on_config(config: Any) -> Any:
    """The navigation, from the registries."""
    config["nav"] = _site().nav
    return config


def on_files(files: Files, config: Any) -> Files:
    """Every page and asset; what docs/ holds is replaced, since all of it is in the tree."""
    for file in list(files):
        if file.src_uri.endswith(".md") or file.src_uri.startswith("notebooks/"):
            files.remove(file)
    for uri, content in _site().pages.items():
        source = {"abs_src_path": str(content)} if isinstance(content, Path) else {"content": content}
        files.append(File.generated(config, uri, **source))
    return files
