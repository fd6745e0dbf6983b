#!/bin/sh
# Follows a channel with nothing but curl, and prints each event as a line of JSON. It begins with
# the rows. Killed or cut off at any moment, it continues where it stopped: the id of the last event
# is in a file.
#
#     TOKEN=... ./follow.sh https://localhost:8443 project:42
#
# The name of the channel is percent-encoded. CURL_CA_BUNDLE names a file with your own authority.
set -eu
url=$1 channel=$2
file=$(printf %s "$channel" | tr -c 'A-Za-z0-9_.~-' _).id

while :; do
  id=$(cat "$file" 2>/dev/null || :)
  # An empty header or id is not sent. Snö ignores `snapshot` where it can resume.
  curl -sS -N --fail ${TOKEN:+-H "Authorization: Bearer $TOKEN"} ${id:+-H "Last-Event-ID: $id"} \
    "$url/v1/events?channel=$channel&snapshot=true" |
    while IFS= read -r line; do
      case $line in
        'data: '*) printf '%s\n' "${line#data: }" ;;
        'id: '*) id=${line#id: } ;;
        '')
          # The event is complete, so it need not come again.
          [ -z "$id" ] || { printf %s "$id" >"$file.new" && mv "$file.new" "$file"; }
          ;;
      esac
    done
  sleep 1
done
