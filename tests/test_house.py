"""Rules of this repository that no other tool checks. CONTRIBUTING.md explains them."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("motet", "orchestrator", "services")
SOURCES = (*PACKAGES, "examples", "protos", "tests")
DOCUMENTS = ("*.md", "docs/**/*.md", "bundles/**/*.md")
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")

MAX_LINES = {"tests/": 400, "": 300}
MAX_FILES = 16

# All modules that the client may load. grpc itself tries to import its sister packages, and works without them.
CLIENT_NEEDS = re.compile(r"motet|google|grpc(_\w+)?|typing_extensions|_?cython_\w+")
HEAVY = ("torch", "numpy", "transformers", "diffusers", "PIL", "av", "soundfile")

# The folders whose code may name a modality. In all other code a modality is a string from the manifest.
MAY_NAME_MODALITIES = (
    "motet/media/",
    "motet/models/",
    "motet/training/",
    "tests/",
    "examples/",
    "services/benchmarks/",
)
# The folders whose code may write "image" for a container image.
MAY_NAME_CONTAINER_IMAGES = ("services/cli/cluster/",)
MODALITY = re.compile(r"(?<![a-z])(image|audio|video)s?(?![a-z])", re.IGNORECASE)

# "Base" does not describe a class. "Baseline" does.
POOR_NAMES = re.compile(r"^\s*class (Base([A-Z]\w*)?|\w*(Manager|Handler|Helper|Utils?|Impl))\b", re.MULTILINE)
UNPICKLES = re.compile(r"\b(import pickle|from pickle|torch\.load|allow_pickle=True|joblib|dill)\b")

POOR_BEGINNING = re.compile(
    r"(What|Which|Who|Whom|Whose|Where|Whether|Why|Of|As|How|That|When|Whoever|Whatever|Nobody|Nothing)\b"
)
POOR_WORDS = re.compile(
    r"\b(told|said|hears|heard|sings?|sung|songs?|singers?|choirs?|whispers?|leash(ed)?|whoever|whom|whomever|nobody"
    r"|somebody|so\s+many|so\s+long|anew|apiece|lest|nor|thereby|thereof|therein|hence|whence|wherever|withal|albeit)\b",
    re.IGNORECASE,
)

# Exceptions, each with its reason.
# Files or definitions ("path: definition") that may use POOR_WORDS or POOR_BEGINNING.
MAY_USE_POOR_WORDS = {
    "CONTRIBUTING.md",  # Shows sentences before and after a correction.
}
# Names that two public classes may share.
MAY_SHARE_A_NAME: set[str] = set()
# Files that may import a module by a name that is not a literal.
MAY_IMPORT_BY_NAME = {
    "motet/media/readers.py",  # Imports the codec of one media type just before the process is confined.
}


class Passage(NamedTuple):
    """A docstring, a comment, or a text that a user reads. `where` is "path: definition", or the path alone."""

    path: str
    line: int
    where: str
    text: str
    is_docstring: bool = False

    def offence(self, offset: int = 0) -> str:
        """Return "path:line: text" of the line that holds character `offset` of the text."""
        number = self.text.count("\n", 0, offset)
        return f"{self.path}:{self.line + number}: {self.text.splitlines()[number].strip()}"


def sources(*suffixes: str, folders: tuple[str, ...] = SOURCES) -> Iterator[tuple[str, str]]:
    """Yield the path from the root and the text of each source file, except generated ones."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and not GENERATED.search(path.name):
                yield path.relative_to(ROOT).as_posix(), path.read_text()


@cache
def passages() -> list[Passage]:
    """Return all passages of the sources and the documents."""
    found: list[Passage] = []
    for path, text in sources(".py"):
        found += python_passages(path, text)
    for path, text in sources(".proto"):
        comments = ((number, line.partition("//")[2]) for number, line in enumerate(text.splitlines(), 1))
        found += (Passage(path, number, path, comment) for number, comment in comments if comment)
    for file in sorted({file for pattern in DOCUMENTS for file in ROOT.glob(pattern)}):
        path = file.relative_to(ROOT).as_posix()
        found.append(Passage(path, 1, path, without_code(file.read_text())))
    return found


def python_passages(path: str, text: str) -> Iterator[Passage]:
    """Yield docstrings, comments, help texts, descriptions and error messages of one file."""
    tree = ast.parse(text)
    definitions = [
        node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    def where(line: int) -> str:
        inside = [node.name for node in definitions if node.lineno <= line <= (node.end_lineno or line)]
        return ": ".join([path, *inside[-1:]])

    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(content))):
                yield Passage(path, node.lineno, where(node.lineno), content, is_docstring=True)
            case ast.Raise(exc=ast.expr() as texts) | ast.keyword(arg="help" | "description", value=texts):
                for part in ast.walk(texts):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value:
                        yield Passage(path, part.lineno, where(part.lineno), part.value)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(path, token.start[0], where(token.start[0]), token.string)


def without_code(markdown: str) -> str:
    """Return the text with the characters of code blocks and code spans deleted. Line numbers stay."""
    return re.sub(r"^```.*?^```|`[^`]*`", lambda code: "\n" * code.group().count("\n"), markdown, flags=re.S | re.M)


def expect_none(offences: list[str]) -> None:
    """Fail with all offences, one per line."""
    if offences:
        pytest.fail("\n".join([f"{len(offences)} offences:", *offences]), pytrace=False)


def loaded_by(program: str) -> set[str]:
    """Return the top-level modules that a new interpreter loads for the program, without the standard library's."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    standard = sys.stdlib_module_names | {"__main__", "__mp_main__", "_sitebuiltins", "_distutils_hack"}
    return {name.partition(".")[0] for name in done.stderr.split()} - standard


def test_the_client_needs_nothing_but_grpc_and_protobuf() -> None:
    assert [name for name in loaded_by("import motet.client") if not CLIENT_NEEDS.fullmatch(name)] == []


@pytest.mark.parametrize("command", ["--help", "run --help", "serve --help", "bench --help"])
def test_help_loads_nothing_heavy(command: str) -> None:
    program = (
        f"from services.cli.app import app\nsys.argv = ['motet', *{command.split()}]\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert end.code in (0, None)"
    )

    assert loaded_by(program) & set(HEAVY) == set()


def test_a_docstring_begins_with_a_verb_or_a_noun() -> None:
    expect_none(
        [
            passage.offence(len(passage.text) - len(passage.text.lstrip()))
            for passage in passages()
            if passage.is_docstring and passage.where not in MAY_USE_POOR_WORDS
            if POOR_BEGINNING.match(passage.text.lstrip())
        ]
    )


def test_texts_use_the_words_of_the_field() -> None:
    expect_none(
        [
            passage.offence(found.start())
            for passage in passages()
            if not {passage.where, passage.path} & MAY_USE_POOR_WORDS
            for found in POOR_WORDS.finditer(passage.text)
        ]
    )


def test_every_exception_is_still_needed() -> None:
    used = {
        name
        for passage in passages()
        if POOR_WORDS.search(passage.text) or POOR_BEGINNING.match(passage.text.lstrip())
        for name in (passage.where, passage.path)
    }

    assert used >= MAY_USE_POOR_WORDS
    assert {name for name, places in public_classes().items() if len(places) > 1} >= MAY_SHARE_A_NAME
    assert {offence.partition(":")[0] for offence in imports_by_name()} >= MAY_IMPORT_BY_NAME


def public_classes() -> dict[str, list[str]]:
    """Return the places ("path:line") of each public top-level class of the packages, by its name."""
    places = defaultdict(list)
    for path, text in sources(".py", folders=PACKAGES):
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path}:{node.lineno}")
    return places


def test_no_two_public_classes_share_a_name() -> None:
    shared = {name: at for name, at in public_classes().items() if len(at) > 1 and name not in MAY_SHARE_A_NAME}
    expect_none([f"{place}: class {name}" for name, places in shared.items() for place in places])


def imports_by_name() -> list[str]:
    """Return "path:line: code" of each call that imports one of our modules by a string, or any by a computed name."""
    found = []
    for path, text in sources(".py"):
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(
                    func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                    args=[name, *_],
                ):
                    foreign = isinstance(name, ast.Constant) and str(name.value).partition(".")[0] not in SOURCES
                    if not foreign:
                        found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_no_import_of_our_own_code_hides_in_a_string() -> None:
    expect_none([offence for offence in imports_by_name() if offence.partition(":")[0] not in MAY_IMPORT_BY_NAME])


def test_modalities_have_names_only_in_code_about_media() -> None:
    expect_none(
        [
            f"{path}:{number}: {line.strip()}"
            for path, text in sources(".py", ".proto")
            if not path.startswith(MAY_NAME_MODALITIES)
            for number, line in enumerate(text.splitlines(), 1)
            if (found := MODALITY.search(line))
            and not (path.startswith(MAY_NAME_CONTAINER_IMAGES) and found[1].lower() == "image")
        ]
    )


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    offences = []
    for path, text in sources(".py"):
        most = next(lines for folder, lines in MAX_LINES.items() if path.startswith(folder))
        if (lines := text.count("\n")) > most:
            offences.append(f"{path}:{lines}: more than {most} lines")
    expect_none(offences)


def test_no_folder_has_too_many_files() -> None:
    files = Counter(
        path.rpartition("/")[0] for path, _ in sources(".py", folders=PACKAGES) if not path.endswith("/__init__.py")
    )
    expect_none(
        [f"{folder}:0: {count} files, more than {MAX_FILES}" for folder, count in files.items() if count > MAX_FILES]
    )


def test_nothing_that_unpickles_is_ever_called() -> None:
    assert [path for path, text in sources(".py") if path != "tests/test_house.py" and UNPICKLES.search(text)] == []


def test_class_names_describe_the_class() -> None:
    assert [(path, found.group()) for path, text in sources(".py") for found in POOR_NAMES.finditer(text)] == []


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for path in documents for name in re.findall(r"`?\bmake ([a-z]+)`", path.read_text())}
    named |= {name for path in documents for name in re.findall(r"^make ([a-z]+)", path.read_text(), re.MULTILINE)}

    assert {"demo", "test"} <= targets
    assert named - targets == set()


def test_every_link_in_the_documents_leads_to_a_file() -> None:
    offences = []
    for file in sorted({file for pattern in DOCUMENTS for file in ROOT.glob(pattern)}):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for target in re.findall(r"\]\(([^)#:]+)\)", line):
                if not (file.parent / target).exists():
                    offences.append(f"{file.relative_to(ROOT)}:{number}: {target}")
    expect_none(offences)
