#!/usr/bin/env bash
# pg-logical-replication 2.5.0, PgoutputPlugin, on messages as the Postgres documentation defines them
#
# Guess: transaction ids and oids, which are unsigned 32-bit numbers in Postgres, arrive as numbers from 0 to
# 4,294,967,295.
#
# Seen: from 2,147,483,648 on they are negative. A server gets there with its transaction ids by use alone, and
# then a text such as `xid = -2147483648` matches nothing in Postgres.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-logical-replication@2.5.0
cat >look.cjs <<'JS'
const { PgoutputPlugin } = require('pg-logical-replication');
const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] });
const uint32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const FIRST = 2_147_483_648;
// Begin: position of the commit (8 bytes), its time (8 bytes), transaction id
const begin = plugin.parse(Buffer.concat([Buffer.from('B'), Buffer.alloc(16, 1), uint32(FIRST)]));
// Relation: oid, schema, name, replica identity, number of columns
const relation = plugin.parse(Buffer.concat([Buffer.from('R'), uint32(FIRST), Buffer.from('public\0t\0d\0\0', 'latin1')]));
const seen = { xid: begin.xid, relationOid: relation.relationOid };
console.log(JSON.stringify(seen));
process.exit(seen.xid === -FIRST && seen.relationOid === -FIRST ? 0 : 1);
JS
node look.cjs
