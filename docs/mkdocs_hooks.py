"""What `make docs` adds to the pages in docs/: the README, the course, the guides at the root, the API by module."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "model-card.md": "latentlab/weights/emoji/MODEL_CARD.md",
}
COURSE = {"notebooks/README.md": "course/index.md", "notebooks/TEACHING.md": "course/teaching.md"}
PROJECT = {f"notebooks/project/{name}.ipynb": f"course/project/{name}.ipynb" for name in ("template", "example")}
THEORY = [
    "diffusion",
    "noise",
    "clip_guidance",
    "prior",
    "latents",
    "inversion",
    "exact_inversion",
    "decoding",
    "inpainting",
    "outpainting",
    "upsampling",
    "slerp",
    "edits",
    "clip",
    "captions",
    "typography",
]


def modules() -> list[str]:
    """Every public module of the library, the theory first."""
    files = sorted((ROOT / "latentlab").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    names = [name for name in names if not re.search(r"\._|__main__|\.training\b", name) and name != "latentlab"]
    theory = [f"latentlab.{name}" for name in THEORY]
    return theory + [name for name in names if name not in theory]


def notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def targets() -> dict[str, str]:
    """Where a link to a file of the repository leads on the site."""
    pages = {source: page for page, source in PAGES.items()} | {
        f"docs/{page}": page for page in ("checkpoints.md", "corpora.md", "diagrams.md", "experiments.md", "recipe.md")
    }
    pages |= {f"notebooks/{path.name}": f"course/{path.name}" for path in notebooks()}
    return pages | COURSE | PROJECT


def relinked(text: str, source: str, page: str) -> str:
    """Lead the links of a file of the repository to the site's pages; a file that is not on the site is only named."""
    folder, up = (ROOT / source).parent, "../" * page.count("/")

    def link(match: re.Match) -> str:
        image, label, address = match.groups()
        if re.match(r"\w+:|#", address):
            return match[0]
        path, _, anchor = address.partition("#")
        file = (folder / path).resolve()
        name = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else path
        if image:
            return f"![{label}]({up}{name.removeprefix('docs/')})"
        if name in targets():
            return f"[{label}]({up}{targets()[name]}{'#' + anchor if anchor else ''})"
        return label

    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the Space's front matter
    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the course and the API into the navigation."""
    api = [{"Overview": "api/index.md"}, *({name.removeprefix("latentlab."): f"api/{name}.md"} for name in modules())]
    course = [{"The course": "course/index.md"}, *({title(path): f"course/{path.name}"} for path in notebooks())]
    course += [{f"Project: {Path(page).stem}": page} for page in PROJECT.values()]
    course.append({"For teachers": "course/teaching.md"})
    for entry in config.nav or ():
        for name, pages in (("API", api), ("Course", course)):
            if name in entry:
                entry[name] = pages
    return config


def title(path: Path) -> str:
    number, _, words = path.stem.partition("_")
    return f"{int(number)} {words.replace('_', ' ').capitalize()}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written elsewhere in the repository, or made from the docstrings."""

    def add(page: str, text: str) -> None:
        files.append(File.generated(config, page, content=text))

    for page, source in PAGES.items():
        if (ROOT / source).exists():
            add(page, relinked((ROOT / source).read_text("utf-8"), source, page))
    for source, page in COURSE.items():
        add(page, relinked((ROOT / source).read_text("utf-8"), source, page))
    for source, page in PROJECT.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for path in notebooks():
        files.append(File.generated(config, f"course/{path.name}", abs_src_path=str(path)))
    for name in modules():
        add(f"api/{name}.md", f"# {name.removeprefix('latentlab.')}\n\n::: {name}\n")
    lines = [f"- [`{name}`]({name}.md)" for name in modules()]
    add("api/index.md", "# API\n\nThe modules, the theory first.\n\n" + "\n".join(lines) + "\n")
    return files
