#!/usr/bin/env bash
# Unpacks one program out of Debian's packages into a folder below TMPDIR, and prints the program's path.
#   debian-program.sh PACKAGE PROGRAM [SUITE]      debian-program.sh nats-server usr/sbin/nats-server sid
# Nothing is installed, and root is not needed: apt has lists of its own here. A folder that is there is used again.
# Without SUITE, the packages come from the machine's own release, with the libraries that the machine lacks.
# With SUITE, only the package itself is unpacked: this suits programs that need no library, such as those in Go.
set -euo pipefail

package=$1 program=$2 suite=${3:-}

fail() {
  echo "$package cannot be fetched: $*" >&2
  exit 1
}

for tool in apt-get dpkg; do
  command -v "$tool" >/dev/null || fail "$tool is missing. It takes a machine with Debian's packages, or $package on the PATH."
done

folder=${TMPDIR:-/tmp}/sno-$package-${suite:-own}-$(id -u)
run=$folder/run
if [ -e "$folder" ] && { [ ! -d "$folder" ] || [ -L "$folder" ] || [ ! -O "$folder" ]; }; then
  fail "$folder belongs to another user. Remove it, or set TMPDIR to a folder of your own."
fi
if [ -e "$folder" ]; then
  echo "$run"
  exit
fi

draft=$(mktemp -d "$folder-draft-XXXXXX")
trap 'rm -rf "$draft"' EXIT
work=$draft/apt
mkdir -p "$work/lists/partial" "$work/archives/partial"

# The machine's own mirror: the first in apt's configuration.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 1p)
[ -n "$mirror" ] || fail "apt names no mirror. Add one of Debian to the machine's sources."
# shellcheck disable=SC1091
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror ${suite:-$release} main" >"$work/sources.list"

private=(
  -o "Dir::Etc::sourcelist=$work/sources.list"
  -o Dir::Etc::sourceparts=-
  -o Dir::Etc::preferencesparts=-
  -o "Dir::State::lists=$work/lists"
  -o "Dir::Cache=$work"
  -o Acquire::Languages=none
  # The draft is this user's alone.
  -o "APT::Sandbox::User=$(id -un)"
  -o Debug::NoLocking=1
)
fetch() {
  apt-get "${private[@]}" -q update || return
  if [ -z "$suite" ]; then
    apt-get "${private[@]}" -q -y --no-install-recommends --reinstall --download-only install "$package"
  else
    (cd "$work/archives" && apt-get "${private[@]}" -q download "$package")
  fi
}
fetch >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "apt-get failed; its words are above."; }

for each in "$work"/archives/*.deb; do dpkg -x "$each" "$draft"; done
rm -rf "$work"
[ -x "$draft/$program" ] || fail "the package has no $program."

libraries=$(find "$draft" -name '*.so*' -printf '%h\n' | sort -u | sed "s|^$draft|$folder|" | paste -sd:)
cat >"$draft/run" <<SCRIPT
#!/bin/sh
LD_LIBRARY_PATH="$libraries" exec "$folder/$program" "\$@"
SCRIPT
chmod 755 "$draft" "$draft/run"

# Another process may have been faster. If so, its folder is used.
mv -T "$draft" "$folder" 2>/dev/null || [ -x "$run" ] || fail "$folder cannot be made."
echo "$run"
