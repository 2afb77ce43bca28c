"""A file from the network: whole, and the one that was meant, or not there at all."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from vidmem.errors import ModelError, OutputError
from vidmem.installed import file_hash

BLOCK = 1 << 20  # bytes read at a time
MOST_BYTES = 32 << 30  # of any file
PATIENCE = 30  # seconds for an answer


class Changed(Exception):
    """What the server has is no longer what the begun part belongs to."""


def fetch(
    url: str, path: Path, progress: Callable[[int, int], None] = lambda done, total: None, sha256: str | None = None
) -> dict:
    """Download `url` to `path`. An earlier try that broke off is continued if the server says that its file is still the same.

    The size is checked against the server's; the SHA-256 against `sha256` where that is known, and otherwise against the one
    recorded beside the file at an earlier download. -> the record, which is also written to `path` + `.json`. Raises
    `ModelError` when the server cannot be reached, or what came is not what was announced, and when somebody else is
    downloading the same file; `OutputError` for a place that cannot be written.
    """
    part, note, mark = (path.with_name(path.name + end) for end in (".part", ".json", ".part.json"))
    expected, where = _expected(sha256, note)
    with _alone(part, path) as file:
        try:
            done, total = _receive(url, file, mark, path, progress)
        except Changed:
            done, total = _receive(url, file, mark, path, progress, afresh=True)
        except _Failed as error:
            if not file.tell():
                part.unlink(missing_ok=True)
                mark.unlink(missing_ok=True)
            raise ModelError(
                f"{url} {error}; download it elsewhere and put it at {path}, or name it with --weights"
            ) from error
        if total and done != total:
            raise ModelError(f"{url}: {done} of {total} bytes came; run the same command again, it goes on from there")
        record = {"url": url, "bytes": done, "sha256": file_hash(part)}
        if not total and not expected:
            part.unlink()
            mark.unlink(missing_ok=True)
            raise ModelError(
                f"{url}: {done} bytes came, and the server does not say how many there are; name the file's --sha256"
            )
        if expected and expected != record["sha256"]:
            part.unlink()
            mark.unlink(missing_ok=True)
            raise ModelError(
                f"{url}: sha256 is {record['sha256']}, expected {expected} {where}; the file was thrown away"
            )
        part.replace(path)
        mark.unlink(missing_ok=True)
    note.write_text(json.dumps(record, indent=1) + "\n")
    return record


class _Failed(Exception):
    """The network's fault; holds how the sentence about it goes on."""


def _receive(url: str, file, mark: Path, path: Path, progress, afresh: bool = False) -> tuple[int, int]:
    """Fill `file` -> bytes it has, and bytes it should have (0: unknown). `mark` keeps what the server said of the file it began."""
    known = {} if afresh else _read(mark)
    done = file.seek(0, 2)
    if done and (known.get("url") != url or not known.get("version")):
        done = file.truncate(0)  # begun from elsewhere, or nobody can say whether it still is the same file
    headers = {"Range": f"bytes={done}-", "If-Range": known["version"]} if done else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as reply:
            first, total = _range(reply) if reply.status == 206 else (0, int(reply.headers.get("Content-Length") or 0))
            if (
                done
                and reply.status == 206
                and ((first, total) != (done, known.get("bytes")) or _version(reply) not in (None, known["version"]))
            ):
                raise Changed
            if reply.status != 206:
                done = file.truncate(0)
            if total > MOST_BYTES:
                raise ModelError(f"{url} announces {total} bytes; expected at most {MOST_BYTES}")
            mark.write_text(json.dumps({"url": url, "version": _version(reply), "bytes": total}))
            while block := reply.read(BLOCK):
                done += len(block)
                if done > (total or MOST_BYTES):
                    raise ModelError(
                        f"{url}: more than the announced {total or MOST_BYTES} bytes came; delete {file.name} and try again"
                    )
                _write(file, block, path)
                progress(done, total)
            whole = bool(getattr(reply, "chunked", False))  # a reply in chunks says when it is over
    except urllib.error.HTTPError as error:
        if error.code == 416 and done and done == known.get("bytes"):
            return done, done  # nothing is left to fetch: only the last step was missing
        if error.code == 416 and done:
            raise Changed from error
        raise _Failed(f"answered {error.code} {error.reason}") from error
    except (http.client.HTTPException, ValueError, OSError) as error:  # the network's; ours is an OutputError by now
        raise _Failed(f"cannot be reached ({getattr(error, 'reason', error)})") from error
    return done, total or (done if whole else 0)


def _range(reply) -> tuple[int, int]:
    """`Content-Range: bytes 100-199/200` -> 100, 200."""
    unit, _, span = (reply.headers.get("Content-Range") or "").partition(" ")
    span, _, total = span.partition("/")
    first, _, last = span.partition("-")
    if unit != "bytes" or not (first.isdigit() and last.isdigit() and total.isdigit()) or int(last) != int(total) - 1:
        raise Changed
    return int(first), int(total)


def _version(reply) -> str | None:
    """What `If-Range` takes (RFC 9110, section 13.1.5): a strong entity tag, or else the date."""
    tag = reply.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else reply.headers.get("Last-Modified")


def _expected(sha256: str | None, note: Path) -> tuple[str | None, str]:
    """The hash that the file must have, and who says so."""
    if sha256:
        return sha256.strip().lower(), "as was asked for"
    if not note.exists():
        return None, ""
    recorded = _read(note).get("sha256")
    if not isinstance(recorded, str):
        raise ModelError(
            f"{note} should hold the hash of an earlier download, and is damaged; delete it to accept any file, or name the --sha256"
        )
    return recorded, f"as recorded in {note}; delete that to accept the new file"


def _read(path: Path) -> dict:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


@contextmanager
def _alone(part: Path, path: Path):
    """The part, opened by one process at a time: two would write into each other's file."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); set VIDMEM_CACHE to another folder") from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: a file that is open cannot be renamed there
            pass
        except OSError:
            raise ModelError(f"another process is downloading {path}; wait for it") from None
        if not part.exists() or not os.path.samestat(
            part.stat(), os.fstat(file.fileno())
        ):  # it came to its end between our open and our lock
            raise ModelError(f"another process has just downloaded {path}; run the same command again")
        yield file


def _write(file, block: bytes, path: Path) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); set VIDMEM_CACHE to another folder") from error
