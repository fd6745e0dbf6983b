# Makes a temporary folder, goes there, and removes it when the script ends. To be sourced first.
# `install_packages NAME@VERSION...` installs packages there.

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
cd "$folder"
trap 'stop_postgres; rm -rf "$folder"' EXIT

stop_postgres() {
  [ -z "${postgres_pid:-}" ] || { kill -INT "$postgres_pid" 2>/dev/null; wait "$postgres_pid" 2>/dev/null; } || true
}

install_packages() {
  [ -e package.json ] || npm init -y >/dev/null
  npm install --silent --no-audit --no-fund --ignore-scripts "$@"
}
