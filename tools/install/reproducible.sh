#!/bin/sh
# reproducible.sh ARCHIVE: builds the Debian package twice of a source archive, under another path, time zone,
# language, mask of rights and number of processes each, and says whether the two are the same bytes.
set -eu
archive=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

build() { # FOLDER ZONE LANGUAGE MASK PROCESSES
    mkdir -p "$work/$1"
    tar xzf "$archive" -C "$work/$1"
    (
        umask "$4"
        cd "$work/$1/"*/
        TZ=$2 LC_ALL=$3 DEB_BUILD_OPTIONS="parallel=$5" dpkg-buildpackage -d -b -us -uc
    ) >"$work/$1.log" 2>&1 || {
        tail -n 30 "$work/$1.log" >&2
        exit 1
    }
}

build one UTC C 022 1
build another/place/with/a/longer/name Pacific/Kiritimati C.UTF-8 002 "$(nproc)"
cd "$work"
one=$(find one -name 'a-io_*.deb') other=$(find another -name 'a-io_*.deb')
sha256sum "$one" "$other" | sed 's|  .*/|  |'
cmp "$one" "$other" && echo "reproducible: both builds of $(basename "$archive") are the same bytes"
