"""Files in, one document each, of mailboxes and rows several.

A file that gives no text is a problem, never silently left out.

A document knows its path and suffix, not when it was changed: a file that was only touched is the
same document.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pathspec import GitIgnoreSpec

from ragwright.retrievers.chunking.markdown import first_heading
from ragwright.retrievers.documents.archives import holds_files
from ragwright.retrievers.documents.binary import suggest_other_format
from ragwright.retrievers.documents.conversions import KeepingConverter
from ragwright.retrievers.documents.convert import suffix_by_content
from ragwright.retrievers.documents.converter import no_room
from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.frontmatter import BadFrontMatter, split_front_matter
from ragwright.retrievers.documents.kinds import (
    CONVERTED,
    HEADED,
    HTML,
    PACKAGES,
)
from ragwright.retrievers.documents.markdown_html import COMPONENTS, MARKDOWN, holds_markup
from ragwright.retrievers.documents.messages import (
    MAILBOXES,
    MESSAGES,
    is_mailbox,
    mailbox_messages,
    message_of,
)
from ragwright.retrievers.documents.opening import (
    PACKED,
    NothingToRead,
    UnreadableFile,
    open_unpacked,
    read_bytes,
)
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.documents.plain import READERS, seen
from ragwright.retrievers.documents.roff import MANUAL, is_manual, manual_text
from ragwright.retrievers.documents.rows import holds_rows, read_rows
from ragwright.retrievers.documents.source import SourceDocuments
from ragwright.retrievers.documents.walking import FolderWalk, name_within, path_as_id
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import clean_text, normalize_metadata
from ragwright.retrievers.types import Document, Place, Value

_MAIL = ".eml"


class FolderDocuments(SourceDocuments):
    """The documents of a folder, at any depth, in the order of their paths.

    Hidden files, and what `.gitignore` and `.ragignore` files leave out, are not looked at.

    Args:
        folder: The folder.
        options: How it is read.

    Raises:
        InputError: When it is read: no file is left, or one cannot be read and is not to be
            skipped.
    """

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        self._folder = folder
        # An archive that was chosen is read as a whole, but for what is excluded.
        whole = replace(options, include=())
        super().__init__(whole, lambda told: read_files(self.files(), told, set()))
        self._walked = replace(self.options, include=options.include)

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the files that are read, each with its name in the folder; none is opened."""
        found = False
        for file in _chosen(self._folder, self._walked):
            found = True
            yield file
        if not found:
            raise InputError(
                f"The folder {str(self._folder)!r} holds no files to read.",
                hint="Hidden and ignored files are left out; check --include and --exclude.",
            )


def _chosen(folder: Path, options: ReadOptions) -> Iterator[tuple[Path, str]]:
    """Yield the files that are meant, each with its name in the folder."""
    include = GitIgnoreSpec.from_lines(options.include or ("*",))
    exclude = GitIgnoreSpec.from_lines(options.exclude)
    for path in FolderWalk(folder, options).files():
        name = name_within(folder, path)
        if include.match_file(name) and not exclude.match_file(name):
            yield path, name


def read_files(
    files: Iterable[tuple[Path, str]], options: ReadOptions, taken: set[str]
) -> Iterator[Document]:
    """Yield the documents of files, each given with its name.

    Args:
        files: Where they lie, and what they are called.
        options: How they are read.
        taken: Ids that rows have already; those of more rows are added.

    Raises:
        InputError: One cannot be read and is not to be skipped.
    """
    with KeepingConverter(options) as converter:
        reader = _Reader(options, converter, taken)
        for path, name in files:
            yield from reader.read(path, name)


def read_file(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield the documents of a file: one, several of a mailbox, none where problems are skipped.

    Raises:
        InputError: It cannot be read and is not to be skipped.
    """
    yield from read_files([(path, path_as_id(Path(path.name)))], options, set())


def text_document(data: bytes, id: str, options: ReadOptions) -> Document:
    """Return the document that bytes of plain text are.

    Raises:
        InputError: They are binary, or their encoding cannot be told.
    """
    try:
        found = decode_text(data, told=options.encoding)
    except UndecodableText as error:
        raise InputError(
            f"Cannot read {id}: {error}.",
            hint="Convert it to UTF-8, or name its encoding: encoding under [index.reading].",
        ) from error
    if found.guess:
        options.note(id, f"it is not UTF-8, and was read as {found.guess}")
    return Document(id, found.text)


class _Reader:
    """Reads files one after the other, with what they share: a process that converts, ids taken."""

    def __init__(self, options: ReadOptions, converter: KeepingConverter, taken: set[str]) -> None:
        self._options = options
        self._converter = converter
        self._taken = taken
        self._unpacking = False

    def read(self, path: Path, id: str) -> Iterator[Document]:
        """Yield the documents of a file; what cannot be read is a problem."""
        try:
            packed = holds_files(path, self._options.max_bytes)
        except UnreadableFile as error:
            self._options.handle(_problem(id, error))
            return
        if packed:
            yield from self._archive(path, id)
        elif holds_rows(path, self._options):
            yield from read_rows(path, id, self._options, self._taken)
        else:
            yield from self._file(path, id)

    def _file(self, path: Path, id: str) -> Iterator[Document]:
        """Yield the document that a file is, or the messages of a mailbox."""
        try:
            data, inner = _bytes(path, self._options)
            if inner.suffix.lower() in MAILBOXES and is_mailbox(data):
                yield from self._mails(data, id)
                return
            suffix = inner.suffix.lower()
            if suffix in MESSAGES:
                name = clean_text(path_as_id(Path(inner.stem)))
                facts: dict[str, Value] = {"path": id, "suffix": suffix}
                yield from self._mail(message_of(data, suffix), id, name, facts)
                return
            if not data.strip():
                raise NothingToRead("it holds no text")
            document = _document(data, inner, id, self._options, self._converter)
            if not document.text.strip():
                raise NothingToRead("it holds no text")
        except UnreadableFile as error:
            self._options.handle(_problem(id, error))
            return
        yield document

    def _archive(self, path: Path, id: str) -> Iterator[Document]:
        """Yield the documents in an archive, as a folder of its own; archives in it are refused."""
        with _temporary_folder() as folder:
            try:
                if self._unpacking:
                    raise UnreadableFile("it is an archive in an archive: unpack it")
                for left in self._converter.unpack(path, folder):
                    self._options.note(f"{id}:{left.place}", left.reason)
            except UnreadableFile as error:
                self._options.handle(_problem(id, error))
                return
            yield from self._unpacked(folder, id)

    def _unpacked(self, folder: Path, id: str) -> Iterator[Document]:
        outer = self._options
        walked = replace(
            outer,
            on_note=lambda note: outer.note(f"{id}:{note.place}", note.reason),
            on_problem=lambda one: outer.on_problem(replace(one, place=f"{id}:{one.place}")),
        )
        files = [*_chosen(folder, walked)]
        if not files:
            outer.handle(Problem(id, "it holds no files to read", read=True))
        self._unpacking = True
        try:
            for inner, name in files:
                yield from self.read(inner, f"{id}:{name}")
        finally:
            self._unpacking = False

    def _mails(self, data: bytes, id: str) -> Iterator[Document]:
        """Yield the messages of a mailbox; one that cannot be read is a problem by its number."""
        for number, mail in enumerate(mailbox_messages(data), start=1):
            place = f"{id}:{number}"
            yield from self._mail(mail, place, place, {"path": id, "suffix": ".mbox"})

    def _mail(self, data: bytes, id: str, name: str, facts: dict[str, Value]) -> Iterator[Document]:
        """Yield a message and the files that are attached to it; of these, what can be read."""
        try:
            found = self._converter.convert(data, _MAIL)
            if not found.text.strip() and not found.attached:
                raise NothingToRead("it holds no text")
        except UnreadableFile as error:
            self._options.handle(_problem(id, error))
            return
        for reason in found.notes:
            self._options.note(id, reason)
        if found.text.strip():
            yield Document(id, clean_text(found.text), clean_text(found.title) or name, facts)
        for place, file, content in _attached(found, id):
            try:
                document = _document(content, Path(file), place, self._options, self._converter)
            except UnreadableFile as error:
                self._options.note(place, str(error))
                continue
            if document.text.strip():
                known = {**document.metadata, "path": facts["path"], "attachment": file}
                yield replace(document, metadata=known)


def _problem(id: str, error: UnreadableFile) -> Problem:
    return Problem(id, str(error), read=isinstance(error, NothingToRead))


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = TemporaryDirectory(prefix="ragwright-", ignore_cleanup_errors=True)
    except OSError as error:
        raise no_room(error.strerror or str(error)) from error
    with folder as name:
        yield Path(name)


def _attached(found: FileText, id: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield the files of a mail, each with an id of its own and its name without a folder."""
    taken = set[str]()
    for number, (said, content) in enumerate(found.attached, start=1):
        name = clean_text(said.replace("\\", "/").rpartition("/")[2]) or "attachment"
        told = name
        while told in taken:
            told = f"{number}:{told}"
        taken.add(told)
        yield f"{id}:{told}", name, base64.b64decode(content)


def _bytes(path: Path, options: ReadOptions) -> tuple[bytes, Path]:
    """Return what a file holds, unpacked, and its path without the ending of packed ones."""
    if path.suffix.lower() not in PACKED or path.stem.lower().endswith(".tar"):
        return read_bytes(path, options.max_bytes), path
    with open_unpacked(path, min(options.max_bytes, options.max_unpacked_bytes)) as file:
        return file.read(), path.with_suffix("")


def _document(
    data: bytes, path: Path, id: str, options: ReadOptions, converter: KeepingConverter
) -> Document:
    suffix = path.suffix.lower()
    facts: dict[str, Value] = {"path": id, "suffix": clean_text(suffix)}
    name = clean_text(path_as_id(Path(path.stem)))
    kind = suffix_by_content(data, suffix)
    if kind in HTML | CONVERTED:
        _check_packages(kind)
        found = converter.convert(data, kind)
        _note_of(found, id, options)
        headed = first_heading(found.text) if kind in HEADED else ""
        return _made(found, id, clean_text(headed) or name, facts)
    if reason := suggest_other_format(data, path.name):
        raise NothingToRead(reason)
    text = _text(data, id, options)
    if MANUAL.search(suffix) and is_manual(text):
        title, text = manual_text(text)
        if not title and not text:
            raise NothingToRead("it only refers to another manual page")
        return Document(id, text, title or name, facts)
    if reader := READERS.get(suffix):
        found = reader(text)
        _note_of(found, id, options)
        return _made(found, id, name, facts)
    if suffix not in MARKDOWN:
        return Document(id, text, name, facts)
    front, body = _front(text, id, options)
    if suffix == COMPONENTS or holds_markup(body):
        body = _shown(body, suffix, id, options, converter)
    title = front.pop("title", None)
    shown = title if isinstance(title, str) else first_heading(body) or name
    return Document(id, body, shown, {**front, **facts})


def _shown(
    text: str, suffix: str, id: str, options: ReadOptions, converter: KeepingConverter
) -> str:
    """Return Markdown with what the HTML in it shows; with its tags, where that fails."""
    try:
        kind = suffix if suffix == COMPONENTS else ".md"
        return converter.convert(text.encode("utf-8", "replace"), kind).text
    except UnreadableFile as error:
        options.note(id, f"the HTML in it is read as it stands: {error}")
        return text


def _note_of(found: FileText, id: str, options: ReadOptions) -> None:
    reasons = [*found.notes, *(["the files in it are not read"] if found.attached else [])]
    for reason in reasons:
        options.note(id, reason)


def _made(found: FileText, id: str, name: str, facts: dict[str, Value]) -> Document:
    places = tuple(Place(start, known) for start, known in found.places)
    return Document(id, clean_text(found.text), clean_text(found.title) or name, facts, places)


def _text(data: bytes, id: str, options: ReadOptions) -> str:
    try:
        found = decode_text(data, markup=data.lstrip()[:1] == b"<", told=options.encoding)
    except UndecodableText as error:
        raise UnreadableFile(str(error)) from error
    if found.guess:
        options.note(id, f"it is not UTF-8, and was read as {found.guess}")
    return seen(found.text)


def _front(text: str, id: str, options: ReadOptions) -> tuple[dict[str, Any], str]:
    """Return what front matter says, of each key that can be kept, and the text behind it."""
    try:
        values, body = split_front_matter(text)
    except BadFrontMatter as error:
        options.note(id, str(error))
        return {}, text
    kept: dict[str, Any] = {}
    for key, value in values.items():
        try:
            kept |= normalize_metadata({key: value}, id, nested="flatten")
        except InputError as error:
            options.note(id, f"its front matter is not all kept: {error.what}")
    return kept, body


def _check_packages(suffix: str) -> None:
    package = PACKAGES.get(suffix, "markitdown")
    if suffix in CONVERTED and importlib.util.find_spec(package) is None:
        raise UnreadableFile(f"{suffix} files need more packages: pip install 'ragwright[files]'")


__all__ = ["FolderDocuments", "read_file", "read_files", "text_document"]
