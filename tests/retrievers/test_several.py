"""Files of a folder that hold several documents: rows of JSON, and mailboxes."""

from __future__ import annotations

import gzip
import json
import mailbox
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path

import pytest

from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.documents.reading import read_documents
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Document


def written(path: Path, *rows: Mapping[str, object] | str) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = path.suffix == ".gz"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def read(folder: Path) -> tuple[dict[str, Document], list[Problem], list[Problem]]:
    problems, notes = list[Problem](), list[Problem]()
    options = ReadOptions(on_error="skip", on_problem=problems.append, on_note=notes.append)
    found = list(read_documents(folder, options))
    assert len({document.id for document in found}) == len(found)
    return {document.id: document for document in found}, problems, notes


def test_rows_of_a_folder_are_documents_and_know_their_file(tmp_path: Path) -> None:
    written(tmp_path / "a" / "some.jsonl", {"_id": "x", "text": "one", "lang": "de"},
            {"text": "two"})  # fmt: skip
    written(tmp_path / "b.NDJSON", {"id": 7, "text": "three", "path": "its own"})
    written(tmp_path / "c.jsonl.gz", {"_id": "y", "title": "T", "text": "four"})
    (tmp_path / "plain.txt").write_text("five")
    found, problems, notes = read(tmp_path)
    assert (problems, notes) == ([], [])
    assert set(found) == {"x", "a/some.jsonl:2", "7", "y", "plain.txt"}
    assert found["x"].metadata == {"path": "a/some.jsonl", "suffix": ".jsonl", "lang": "de"}
    assert (found["7"].metadata["path"], found["y"].title) == ("its own", "T")


def test_lines_that_are_no_documents_stay_a_text(tmp_path: Path) -> None:
    written(tmp_path / "set.jsonl", {"question": "When?", "answer": "1889"})
    written(tmp_path / "log.jsonl", "no JSON at all", {"text": "late"})
    written(tmp_path / "number.jsonl", {"text": 5})
    found, problems, _ = read(tmp_path)
    assert (set(found), problems) == ({"set.jsonl", "log.jsonl", "number.jsonl"}, [])
    assert '"question": "When?"' in found["set.jsonl"].text


def test_a_row_that_is_wrong_is_a_problem_by_its_place(tmp_path: Path) -> None:
    written(tmp_path / "in" / "a.jsonl", {"text": "one"}, "{", {"text": ""}, {"text": "two"})
    found, problems, _ = read(tmp_path)
    assert set(found) == {"in/a.jsonl:1", "in/a.jsonl:4"}
    assert [problem.place for problem in problems] == ["in/a.jsonl:2", "in/a.jsonl:3"]
    with pytest.raises(InputError, match=r"'in/a\.jsonl:2'"):
        list(read_documents(tmp_path))


def test_a_damaged_packed_file_gives_what_came_before(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl.gz", *({"text": f"row {n} {n**40}"} for n in range(9999)))
    path.write_bytes(path.read_bytes()[:-50_000])
    found, problems, _ = read(tmp_path)
    assert found
    assert [problem.place for problem in problems] == ["a.jsonl.gz"]


def test_ids_that_two_files_share_are_told_apart_and_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / f"{name}.jsonl", {"id": 1, "text": f"text of {name}"})
    found, _, notes = read(tmp_path)
    assert {id: document.text for id, document in found.items()} == {
        "1": "text of a", "b.jsonl:1": "text of b"
    }  # fmt: skip
    assert [note.place for note in notes] == ["b.jsonl:1"]


def _mail_with(*files: tuple[str, bytes]) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "a@example.org", "The plan"
    mail.set_content("See the files.")
    for name, data in files:
        kind, _, sub = ("image/png" if name.endswith(".png") else "application/x-any").partition(
            "/"
        )
        mail.add_attachment(data, maintype=kind, subtype=sub, filename=name)
    return mail


def test_files_that_are_attached_to_a_mail_are_documents_of_their_own(tmp_path: Path) -> None:
    page = b"<title>Leave</title><h1>Leave</h1><p>Thirty days.</p>"
    files = [("../../plan.html", page), ("Größe.txt", "Größe 5".encode("utf-16")), ("a.png", b"\0"),
             ("bad.pdf", b"%PDF-1.4 cut"), ("data.bin", bytes(range(256))), ("Größe.txt", b"again"),
             ("empty.txt", b"")]  # fmt: skip
    outer = EmailMessage()
    outer["From"] = "b@example.org"
    outer.set_content("Forwarded.")
    outer.add_attachment(_mail_with(("inner.md", b"# Inner\n\nDeep down.")))
    (tmp_path / "m.eml").write_bytes(_mail_with(*files).as_bytes())
    (tmp_path / "outer.eml").write_bytes(outer.as_bytes())
    box = mailbox.mbox(tmp_path / "old.mbox")
    box.add(_mail_with(("notes.txt", b"Two sheep.")))
    box.close()
    found, problems, notes = read(tmp_path)
    assert problems == []
    assert {id: document.text.split("\n")[-1] for id, document in found.items()} == {
        "m.eml": "See the files.", "m.eml:plan.html": "Thirty days.", "m.eml:Größe.txt": "Größe 5",
        "m.eml:5:Größe.txt": "again", "outer.eml": "See the files.",
        "outer.eml:inner.md": "Deep down.", "old.mbox:1": "See the files.",
        "old.mbox:1:notes.txt": "Two sheep.",
    }  # fmt: skip
    assert found["m.eml:plan.html"].title == "Leave"
    assert found["old.mbox:1:notes.txt"].metadata == {
        "path": "old.mbox", "suffix": ".txt", "attachment": "notes.txt"
    }  # fmt: skip
    assert {note.place for note in notes} == {"m.eml", "m.eml:bad.pdf", "m.eml:data.bin"}


def test_an_attached_text_is_read_in_the_encoding_that_the_mail_says(tmp_path: Path) -> None:
    mail = _mail_with()
    mail.add_attachment("Ža\u010d", subtype="csv", charset="iso-8859-2", filename="a.csv")
    (tmp_path / "m.eml").write_bytes(mail.as_bytes())
    found, problems, notes = read(tmp_path)
    assert (found["m.eml:a.csv"].text.strip(), problems, notes) == ("Ža\u010d", [], [])


def test_a_mailbox_is_its_mails(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "old.mbox")
    for number, body in enumerate(["Hello.", "From here on\nFrom there\n\nFrom me", "Grüße"]):
        mail = EmailMessage()
        mail["From"], mail["Subject"] = "a@example.org", f"Letter {number}"
        mail.set_content(body)
        box.add(mail)
    box.close()
    data = (tmp_path / "old.mbox").read_bytes()
    (tmp_path / "old.mbox.gz").write_bytes(gzip.compress(data.replace(b"\n", b"\r\n")))
    found, problems, _ = read(tmp_path)
    assert problems == []
    for name in ("old.mbox", "old.mbox.gz"):
        mails = [found[f"{name}:{number}"] for number in (1, 2, 3)]
        assert [mail.title for mail in mails] == ["Letter 0", "Letter 1", "Letter 2"]
        assert mails[1].text.endswith("From here on\nFrom there\n\nFrom me")
        assert mails[2].text.endswith("Grüße")
        assert {mail.metadata["path"] for mail in mails} == {name}
    assert len(list(read_documents(tmp_path / "old.mbox"))) == 3


def test_a_mailbox_with_a_bad_mail_gives_the_others(tmp_path: Path) -> None:
    good = b"From a Thu Jan  1\nFrom: a@b\nSubject: S\n\nText\n\n"
    (tmp_path / "a.mbox").write_bytes(good + b"From b Thu Jan  1\n\n\n" + good)
    (tmp_path / "none.mbox").write_text("Not a mailbox, but a text.")
    found, problems, _ = read(tmp_path)
    assert set(found) == {"a.mbox:1", "a.mbox:3", "none.mbox"}
    assert [problem.place for problem in problems] == ["a.mbox:2"]
