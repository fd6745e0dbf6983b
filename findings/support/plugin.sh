# Starts Postgres 15 with a plugin of Debian 12, in the folder of folder.sh. To be sourced after postgres.sh.
# `start_postgres_with_plugin PACKAGE=VERSION...`: the plugin's package, and those of libraries that it needs.

start_postgres_with_plugin() {
  local package
  apt-get -qq download "$@" 2>/dev/null || { echo "needs Debian 12's apt-get" >&2; return 2; }
  for package in *.deb; do dpkg -x "$package" plugin; done
  LD_LIBRARY_PATH=$(echo "$PWD"/plugin/usr/lib/*-linux-gnu*)
  export LD_LIBRARY_PATH
  start_postgres 15.18.0-beta.17 -c dynamic_library_path="\$libdir:$PWD/plugin/usr/lib/postgresql/15/lib"
}
