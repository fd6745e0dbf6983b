#!/usr/bin/env bash
# Unpacks Postgres 19 out of Debian's packages (experimental and sid) into a folder, and prints the folder with its programs.
# Nothing is installed: apt has lists and a state of its own here, and the programs run by the libraries beside them.
# It needs neither root nor chroot. A folder that is there is used again; --update replaces it by the newest packages.
set -euo pipefail

MAJOR=19
SOURCE=postgresql-$MAJOR
# What the server's packages ask for, and the server itself does not need.
LEFT_OUT=(postgresql-common postgresql-client-common locales ssl-cert debconf)

fail() {
  echo "Postgres $MAJOR cannot be fetched: $*" >&2
  exit 1
}

for tool in apt-get dpkg; do
  command -v "$tool" >/dev/null || fail "$tool is missing. It comes from Debian's packages, so it takes a machine with apt:" \
    "Debian, or a container of it. Or set SNO_TEST_POSTGRES_$MAJOR to a folder with initdb and postgres of $MAJOR."
done
# Debian builds its server to read the machine's time zones.
[ -e /usr/share/zoneinfo/UTC ] || fail "the machine has no /usr/share/zoneinfo. Install the package tzdata."

# Below TMPDIR, since Postgres may run as another user, who cannot always reach a checkout.
folder=${TMPDIR:-/tmp}/sno-$SOURCE-$(id -u)
programs=$folder/usr/lib/postgresql/$MAJOR/bin
if [ -e "$folder" ] && { [ ! -d "$folder" ] || [ -L "$folder" ] || [ ! -O "$folder" ]; }; then
  fail "$folder belongs to another user. Remove it, or set TMPDIR to a folder of your own."
fi
if [ -e "$folder" ] && [ "${1:-}" != --update ]; then
  echo "$programs"
  exit
fi

draft=$(mktemp -d "$folder-draft-XXXXXX")
trap 'rm -rf "$draft"' EXIT
work=$draft/apt
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"

# The machine's own mirror: the first in apt's configuration.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 1p)
[ -n "$mirror" ] || fail "apt names no mirror. Add one of Debian to the machine's sources."
for suite in sid experimental; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$work/sources.list"

# The server and its library from where they are newest, all else from sid.
printf 'Package: src:%s\nPin: release a=experimental\nPin-Priority: 500\n' "$SOURCE" >"$work/preferences"
for package in "${LEFT_OUT[@]}"; do
  printf 'Package: %s\nStatus: install ok installed\nArchitecture: all\nMulti-Arch: foreign\nVersion: 999999\n' "$package"
  printf 'Maintainer: none\nDescription: left out\n\n'
done >"$work/state/status"

private=(
  -o "Dir::Etc::sourcelist=$work/sources.list"
  -o Dir::Etc::sourceparts=-
  -o "Dir::Etc::preferences=$work/preferences"
  -o Dir::Etc::preferencesparts=-
  -o "Dir::State=$work/state"
  -o "Dir::State::status=$work/state/status"
  -o "Dir::Cache=$work/cache"
  -o Acquire::Languages=none
  # The draft is this user's alone.
  -o "APT::Sandbox::User=$(id -un)"
)
{
  apt-get "${private[@]}" -q update &&
    apt-get "${private[@]}" -q -y --no-install-recommends --download-only install "$SOURCE"
} >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "apt-get failed; its words are above."; }

for package in "$work"/cache/archives/*.deb; do dpkg -x "$package" "$draft"; done
rm -rf "$work"

loader=$(find "$draft/usr/lib" -name 'ld-linux*.so.*' | head -n 1)
[ -n "$loader" ] || fail "the packages hold no loader."
libraries=$(dirname "$loader")
# Each program becomes a script that starts it by its own loader. Postgres finds its files by the name that it was called by.
for program in "$draft/usr/lib/postgresql/$MAJOR/bin"/*; do
  [ -f "$program" ] && [ ! -L "$program" ] && [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || continue
  mv "$program" "$program.elf"
  cat >"$program" <<SCRIPT
#!/bin/sh
libraries="$folder${libraries#"$draft"}"
exec "\$libraries/$(basename "$loader")" --library-path "\$libraries" --argv0 "\$0" "\$0.elf" "\$@"
SCRIPT
  chmod 755 "$program"
done
chmod 755 "$draft"

rm -rf "$folder"
mv "$draft" "$folder"
echo "$programs"
