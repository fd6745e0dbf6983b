/** The settings that bound what clients and commits may cost: memory, connections, frames. */
import { HELLO_SECONDS } from '../protocol.ts';
import { bytes, folder, integer } from './forms.ts';
import { optional, setting } from './setting.ts';

/** Limits of memory and spool files, and of snapshots that are read at the same time. */
export const MEMORY = {
  SNO_JOIN_CACHE_BYTES: setting(
    bytes(0),
    '64MB',
    'Bytes of joined rows that Snö keeps in memory for views that join. Rows that are not kept are read from Postgres again.',
  ),
  SNO_JOIN_ROWS: setting(
    integer(1, 10_000_000),
    '100000',
    'Maximum rows that a commit to a joined table may concern, and that Snö reads from Postgres for it, for views that join. Beyond it, the subscribers of the view are reset.',
  ),
  SNO_COMMIT_BYTES: setting(
    bytes(1),
    '8MB',
    'Maximum bytes of events that Snö sends as one whole commit. It sends a larger commit in parts.',
  ),
  SNO_OUTBOUND_BYTES: setting(
    bytes(1),
    '1MB',
    'Bytes that may wait in one client socket. Beyond that, the client is behind and reads from the journal at its own pace.',
  ),
  SNO_OUTBOUND_TOTAL_BYTES: setting(
    bytes(1),
    '256MB',
    'Total bytes queued for clients that are not reading, divided equally among them, at least 16 kB each.',
  ),
  SNO_WAL_BUFFER_BYTES: setting(
    bytes(1),
    '16MB',
    'Bytes of WAL that may wait in memory before Snö pauses the replication socket.',
  ),
  SNO_SPOOL_BYTES: setting(
    bytes(0),
    '0',
    'Maximum bytes of large transactions in progress that Snö keeps until their commit, in temporary files. Beyond it, Postgres keeps them, and other commits wait while Postgres sends them. 0 = Postgres always keeps them.',
  ),
  SNO_SPOOL_DIR: optional(
    folder,
    'Folder of the temporary files of SNO_SPOOL_BYTES. Default: the folder for temporary files of the system (TMPDIR).',
  ),
  SNO_SNAPSHOTS: setting(
    integer(1, 100),
    '4',
    'Maximum snapshots that Snö reads from the database at the same time; others wait.',
  ),
  SNO_SNAPSHOT_BYTES: setting(
    bytes(1),
    '8MB',
    'Bytes of one snapshot that may wait in memory for the slowest of the clients that share it.',
  ),
  SNO_SNAPSHOT_SECONDS: setting(
    integer(1, 86_400),
    '300',
    'Maximum seconds for a whole snapshot. It may hold a transaction of the database open for that long.',
  ),
} as const;

/** What clients may send and open. */
export const LIMITS = {
  SNO_MAX_CONNECTIONS: setting(integer(0, 10_000_000), '100000', 'Maximum connections in all; 0 = no limit.'),
  SNO_MAX_CONNECTIONS_PER_ADDRESS: setting(
    integer(0, 10_000_000),
    '1000',
    'Maximum connections of one address (IPv6: of one /64 network); 0 = no limit.',
  ),
  SNO_MAX_PENDING_CONNECTIONS: setting(
    integer(0, 10_000_000),
    '10000',
    'Maximum connections that have not received `welcome` yet; 0 = no limit. At this limit, the newest one of the address with the most makes room for one of another address. One address may have SNO_MAX_CONNECTIONS_PER_ADDRESS of them, but at least 100.',
  ),
  SNO_HANDSHAKE_SECONDS: setting(
    integer(1, 3_600),
    '10',
    'Seconds until a connection must be a websocket: TLS handshake and HTTP request together.',
  ),
  SNO_HELLO_SECONDS: setting(integer(1, 3_600), String(HELLO_SECONDS), 'Seconds until a websocket must send hello.'),
  SNO_MAX_HEADER_BYTES: setting(bytes(1_024), '16384', 'Maximum bytes of the head of an HTTP request.'),
  SNO_MAX_SUBSCRIPTIONS: setting(
    integer(0, 1_000_000),
    '500',
    'Maximum subscriptions of one connection, including those that are still being checked; 0 = no limit.',
  ),
  SNO_MAX_CHANNEL_BYTES: setting(bytes(1), '1024', "Maximum bytes of a channel's name in a frame from a client."),
  SNO_MAX_TOKEN_BYTES: setting(bytes(1), '16384', 'Maximum bytes of a token.'),
  SNO_MAX_FRAME_BYTES: setting(bytes(1), '65536', 'Maximum bytes of one frame from a client.'),
  SNO_MAX_FRAMES_PER_SECOND: setting(
    integer(0, 1_000_000),
    '200',
    'Maximum frames a second from a client, averaged over 10 seconds. Pings count. A frame counts once for each 4 kB that it begins. 0 = no limit.',
  ),
  SNO_MAX_SENDS_PER_SECOND: setting(
    integer(0, 1_000_000),
    '10',
    'Maximum sends a second from a connection to the other subscribers of its channels. Snö drops further ones. 0 = no limit.',
  ),
  SNO_PRESENCE_GRACE_SECONDS: setting(
    integer(0, 600),
    '5',
    'Seconds after the last connection of a member of a channel is gone until the others see it leave. A client that is back within them has not left.',
  ),
  SNO_MAX_FRAGMENTS: setting(integer(1, 1_000_000), '128', 'Maximum fragments of one frame from a client.'),
  SNO_MAX_FRAME_PIECES: setting(
    integer(1, 1_000_000),
    '1024',
    'Maximum pieces in which a frame from a client may arrive: a frame that arrives byte by byte takes many times its size in memory.',
  ),
  SNO_MAX_WAITING_COMMITS: setting(
    integer(1, 1_000_000),
    '1000',
    'Maximum commits that one connection may wait for at a time (`reached`).',
  ),
  SNO_MAX_WAITING_SNAPSHOTS: setting(
    integer(0, 10_000_000),
    '10000',
    'Maximum snapshots that wait for one of SNO_SNAPSHOTS, and maximum channels that wait for older history. At this limit, a client of the address with the most receives `overloaded`. 0 = no limit.',
  ),
} as const;
