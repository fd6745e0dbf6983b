/**
 * Every error that Snö gives, with its stable code. One record: docs/errors.md is generated from it, and a code
 * that is not here does not compile.
 */

interface ErrorEntry {
  /** Who meets it: the operator (command line, log) or a client (error frame). */
  readonly audience: 'operator' | 'client';
  readonly cause: string;
  readonly mend: string;
}

export const ERRORS = {
  // operator: settings and start
  setting_invalid: {
    audience: 'operator',
    cause: 'A setting is unknown, malformed or missing, or two settings contradict each other.',
    mend: 'Correct the setting that the message names; docs/settings.md lists all of them.',
  },
  usage: {
    audience: 'operator',
    cause: 'The command line names no such command or flag, or an argument is missing.',
    mend: 'See `sno --help` and `sno COMMAND --help`.',
  },
  database_unreachable: {
    audience: 'operator',
    cause: 'No connection to Postgres could be made, or it ended.',
    mend: 'Do what the message says; else check SNO_DATABASE_URL, and that Postgres runs and can be reached from here.',
  },
  connection_invalid: {
    audience: 'operator',
    cause:
      'The connection string, a PG* variable, the service file or a file that one of them names (certificate, key) is invalid, or asks for something that Snö does not support.',
    mend: 'Correct what the message names; "Connection strings" in docs/operations.md lists all parameters.',
  },
  session_settings: {
    audience: 'operator',
    cause: 'A connection to Postgres does not have the settings that Snö asked for when it connected.',
    mend: "A pooler in between drops them: connect to Postgres itself, or by a pooler that pools whole sessions and passes the startup packet's options on.",
  },
  connections_exhausted: {
    audience: 'operator',
    cause: 'The role, the database or the server has as many connections as it may.',
    mend: 'Raise the limit that the message names; docs/operations.md says how many connections Snö needs.',
  },
  database_too_old: {
    audience: 'operator',
    cause: 'The server is older than Postgres 15.',
    mend: 'Upgrade to Postgres 15 or newer.',
  },
  database_standby: {
    audience: 'operator',
    cause: 'The server is a standby, which can be read only.',
    mend: 'Connect to the primary. A Snö that runs already tries again until the server is promoted.',
  },
  wal_level_not_logical: {
    audience: 'operator',
    cause:
      'The wal_level of the server is too low to decode row changes. Postgres 15 to 18 need `logical`; `replica` is enough from 19 on.',
    mend: "Run `alter system set wal_level = 'logical'` and restart Postgres (managed Postgres: the provider's switch).",
  },
  missing_privilege: {
    audience: 'operator',
    cause: 'The database role lacks a privilege that Snö needs.',
    mend: 'Run the SQL that the message shows, as a role that may; `sno setup` prints all of it.',
  },
  setup_required: {
    audience: 'operator',
    cause: 'The database has not been set up, or by another version, and this role may not do it.',
    mend: 'Run `sno setup --apply` as a privileged role, or the SQL that `sno setup` prints.',
  },
  slot_in_use: {
    audience: 'operator',
    cause: 'Another process is streaming from the replication slot.',
    mend: "Stop the other process, or give this one its own slot with SNO_SLOT. A pid in the message is that of Postgres's process: application_name and client_addr in pg_stat_activity tell its client.",
  },
  slot_mismatch: {
    audience: 'operator',
    cause: 'The slot exists, but is physical, of another plugin, of another database, or made with two_phase.',
    mend: 'Drop that slot, or choose another name with SNO_SLOT.',
  },
  slot_blocked: {
    audience: 'operator',
    cause: 'The slot could not be created in time: Postgres waits for the transactions that were running to end.',
    mend: 'End the transactions that the message names, then start again.',
  },
  slots_exhausted: {
    audience: 'operator',
    cause: 'Postgres has no replication slot or WAL sender left.',
    mend: 'Raise max_replication_slots and max_wal_senders, or drop slots that nobody uses.',
  },
  slot_lost: {
    audience: 'operator',
    cause:
      'The replication slot was dropped, invalidated, moved or made anew by something else than this process, so that commits may be missing.',
    mend: 'Nothing: a new slot and epoch are made and subscribers are reset. See max_slot_wal_keep_size in docs/operations.md.',
  },
  wal_undecodable: {
    audience: 'operator',
    cause:
      'Postgres cannot decode a commit: a row is over 1 GB as text, a text has no form in UTF-8, a row filter or an output function raises an error, or a library, memory or disk is missing.',
    mend: 'Remove the cause that the message names. After SNO_UNDECODABLE_SECONDS that commit is given up, and subscribers are reset (`slot_lost`). See docs/operations.md.',
  },
  slot_wal_exceeded: {
    audience: 'operator',
    cause: 'Postgres holds much WAL for the slot: more than SNO_SLOT_WAL_BYTES, or soon so.',
    mend: 'End what the message names (a transaction that stays open, a Snö that is stopped or too slow). At the bound SNO_SLOT_WAL_POLICY decides; docs/operations.md says more.',
  },
  address_in_use: {
    audience: 'operator',
    cause: 'The port that Snö should listen on is taken.',
    mend: 'Stop the other process, or choose another port with SNO_PORT or SNO_ADMIN_PORT.',
  },
  worker_failed: {
    audience: 'operator',
    cause: 'A worker process (SNO_WORKERS) ended by itself: before it could serve clients, or at a bug.',
    mend: 'See what it logged; where it ran out of memory, give the machine more or set SNO_WORKERS lower.',
  },
  tls_invalid: {
    audience: 'operator',
    cause: 'The certificate or key file cannot be read, is not PEM, or the two do not belong together.',
    mend: 'Correct SNO_TLS_CERT and SNO_TLS_KEY.',
  },
  channel_refused: {
    audience: 'operator',
    cause: 'A view in schema channels cannot be kept live from the WAL.',
    mend: 'Change the underlined part of the view as the message says.',
  },
  row_security: {
    audience: 'operator',
    cause:
      'Row-level security applies to the role by whose rights a channel view reads its table: snapshots would lack rows that events have.',
    mend: 'Run the SQL that the message shows, so that the view reads all rows. Who may hear a channel is decided by its access view.',
  },
  pattern_invalid: {
    audience: 'operator',
    cause: 'The name of a channel view or access view is no channel pattern.',
    mend: 'Use A-Za-z0-9_.:/- and {column}, at most 63 bytes, each {column} an output column of the view.',
  },
  pattern_conflict: {
    audience: 'operator',
    cause: 'Two patterns could produce the same channel name.',
    mend: 'Rename one of the two views that the message names.',
  },
  replica_identity: {
    audience: 'operator',
    cause: 'The WHERE or the placeholders use columns whose old values Postgres does not put into the WAL.',
    mend: 'Where a unique index over NOT NULL columns with short values covers these columns and the key, run ALTER TABLE ... REPLICA IDENTITY USING INDEX. Else run the ALTER TABLE that the message shows. Postgres 19 refuses REPACK (CONCURRENTLY) of a table with REPLICA IDENTITY FULL.',
  },
  table_unpublished: {
    audience: 'operator',
    cause: "A channel's table is not in the publication and could not be added.",
    mend: 'Run the ALTER PUBLICATION that the message shows, as the owner of both.',
  },
  writers_open: {
    audience: 'operator',
    cause:
      'A table was published while transactions were open that had written to it: a part of what they commit never comes, so nobody may join its channels before they have ended.',
    mend: 'Nothing: the channels are served once they have ended; until then clients are told to try again. The log names them: end one that was forgotten.',
  },
  rules_failed: {
    audience: 'operator',
    cause: 'A SQL file of the rules folder, or of `sno check`, failed; nothing was applied.',
    mend: 'Correct the file at the place that the message shows.',
  },
  embedded_postgres_failed: {
    audience: 'operator',
    cause: 'The Postgres server that the demo brings along is not installed for this platform, or does not run here.',
    mend: 'Do what the message says, or use a Postgres of your own: `sno start` with SNO_DATABASE_URL.',
  },
  server_unreachable: {
    audience: 'operator',
    cause: 'No websocket connection to Snö could be made, or it was closed (`sno tail`).',
    mend: 'Check that `sno start` runs there, SNO_HOST and SNO_PORT or --url, and the certificate (--insecure skips its check).',
  },
  decode_failed: {
    audience: 'operator',
    cause: 'The WAL stream had bytes that are not pgoutput protocol version 1. This is a bug.',
    mend: 'Report it with the message.',
  },

  admin_token_required: {
    audience: 'operator',
    cause: 'The request to the admin port has no token, or not that of SNO_ADMIN_TOKEN (HTTP 401).',
    mend: 'Send `Authorization: Bearer` with the token.',
  },
  admin_host_refused: {
    audience: 'operator',
    cause:
      'The request to the admin port was for another host than this machine, as DNS rebinding makes browsers send it (HTTP 421).',
    mend: 'Use localhost or 127.0.0.1 in the URL; from elsewhere, set SNO_ADMIN_HOST and SNO_ADMIN_TOKEN.',
  },

  // client: error frames
  malformed_frame: {
    audience: 'client',
    cause: 'The frame is not a JSON object of a known type with the right members.',
    mend: 'Send frames as docs/protocol.md describes.',
  },
  hello_required: {
    audience: 'client',
    cause: 'The first frame was not hello, or none came within SNO_HELLO_SECONDS.',
    mend: 'Send {"type":"hello"} first.',
  },
  hello_repeated: {
    audience: 'client',
    cause: 'A second hello on one connection.',
    mend: 'Use {"type":"token"} to change the token.',
  },
  token_invalid: {
    audience: 'client',
    cause:
      'The token is malformed or longer than SNO_MAX_TOKEN_BYTES, its signature does not verify, or issuer or audience differ.',
    mend: "Get a new token from the app's server.",
  },
  token_expired: {
    audience: 'client',
    cause: 'The token has expired or is not valid yet.',
    mend: 'Get a new token; the client library asks for one by its token callback.',
  },
  token_unverifiable: {
    audience: 'client',
    cause: 'No key to check tokens with is configured, or the JWKS URL gives no good key set.',
    mend: 'Set SNO_JWT_SECRET, SNO_JWT_PUBLIC_KEY or SNO_JWKS_URL; try again when the key server answers.',
  },
  channel_invalid: {
    audience: 'client',
    cause: 'The name is no canonical channel name, or is longer than SNO_MAX_CHANNEL_BYTES.',
    mend: 'Write values as Postgres prints them, with every character outside A-Za-z0-9_.~- percent-encoded.',
  },
  channel_unknown: {
    audience: 'client',
    cause: 'No channel view or access view makes this channel.',
    mend: 'Create a view in schema channels whose pattern matches, or correct the name.',
  },
  channel_unavailable: {
    audience: 'client',
    cause: 'The channel view was dropped, or it exists but is refused.',
    mend: 'Try again, slowly: a migration may be under way. The log of the server, and `sno check`, show the reason.',
  },
  access_undeclared: {
    audience: 'client',
    cause: 'The channel has no access view, so nobody may join it.',
    mend: 'Create an access view for it; the log of the server shows the SQL.',
  },
  access_denied: {
    audience: 'client',
    cause:
      'The access view has no row for this channel and the claims of this token: the connection gave no token, a claim is missing or of another type, it is a plain no, or the view raises an error. The message says which; the log names the claims that the view asks for.',
    mend: 'Give the user access, or use another token.',
  },
  already_subscribed: {
    audience: 'client',
    cause: 'This connection is subscribed to the channel, or is joining it.',
    mend: 'Unsubscribe first.',
  },
  not_subscribed: {
    audience: 'client',
    cause: 'This connection is not subscribed to the channel.',
    mend: 'Nothing.',
  },
  too_many_subscriptions: {
    audience: 'client',
    cause: 'The connection has SNO_MAX_SUBSCRIPTIONS subscriptions, those that are still being checked among them.',
    mend: 'Unsubscribe from channels that are not on the screen, or raise the setting.',
  },
  position_invalid: {
    audience: 'client',
    cause: '`since` is no position that Snö gave, or stands beside `snapshot`.',
    mend: 'Send the position of the last frame as it came, or ask for a snapshot.',
  },
  snapshot_unavailable: {
    audience: 'client',
    cause: 'The channel has no channel view, and so no rows to read: it carries published messages only.',
    mend: 'Create the channel view that its rows come from; or subscribe without snapshot, for messages only.',
  },
  try_again: {
    audience: 'client',
    cause:
      'The database could not be asked just now (unreachable, or too slow), or the channel is about to be served (`writers_open`), or it is not known yet whether there is one, since the stream is behind. Nothing was allowed.',
    mend: 'Try again, with a growing and jittered wait; the client library does.',
  },
  frame_too_large: {
    audience: 'client',
    cause:
      'The frame is larger than SNO_MAX_FRAME_BYTES, or comes in more fragments or pieces than SNO_MAX_FRAGMENTS and SNO_MAX_FRAME_PIECES allow.',
    mend: 'Send smaller frames, whole.',
  },
  too_many_requests: {
    audience: 'client',
    cause:
      'The connection sent more frames a second than SNO_MAX_FRAMES_PER_SECOND (pings and each 4 kB count), or waits for more commits than SNO_MAX_WAITING_COMMITS.',
    mend: 'Send fewer.',
  },
  origin_refused: {
    audience: 'client',
    cause: 'The web page that opens the connection comes from an origin that is not allowed (HTTP 403).',
    mend: 'Serve the page from the same host, or add its origin to SNO_ALLOWED_ORIGINS.',
  },
  host_refused: {
    audience: 'client',
    cause: 'The request is for a host that is not this server, as DNS rebinding makes browsers send it (HTTP 421).',
    mend: 'Use localhost or 127.0.0.1 in the URL. Behind a proxy that ends TLS, set SNO_TLS=off; or add the page to SNO_ALLOWED_ORIGINS.',
  },
  starting: {
    audience: 'client',
    cause: 'The service is starting (HTTP 503).',
    mend: 'Try again, with a growing and jittered wait; the client library does. The log says what it waits for.',
  },
  websocket_required: {
    audience: 'client',
    cause: 'A plain HTTP request, or an upgrade to something else, where only websockets are served (HTTP 426).',
    mend: 'Open a websocket: new WebSocket("wss://host/v1").',
  },
  not_found: {
    audience: 'client',
    cause: 'There is nothing at this path (HTTP 404).',
    mend: 'Websockets are at /v1, the client library at /sno.js.',
  },
  request_malformed: {
    audience: 'client',
    cause: 'The bytes are no HTTP request, or no websocket handshake of version 13 (HTTP 400).',
    mend: 'Open a websocket: new WebSocket("wss://host/v1").',
  },
  header_too_large: {
    audience: 'client',
    cause: 'The head of the HTTP request is larger than SNO_MAX_HEADER_BYTES (HTTP 431).',
    mend: 'Send fewer or smaller headers; cookies are of no use here.',
  },
  body_refused: {
    audience: 'client',
    cause: 'The HTTP request has a body; nothing here takes one (HTTP 413).',
    mend: 'Send what you have to say over the websocket.',
  },
  token_in_url: {
    audience: 'client',
    cause: 'The URL has a token in it, which proxies and browsers keep in their logs (HTTP 400). It was not looked at.',
    mend: 'Send it in the hello frame or in an Authorization header, and take the one that was in the URL for known.',
  },
  overloaded: {
    audience: 'client',
    cause:
      'The server or the address has as many connections as it may, or as many snapshots wait as may (SNO_MAX_WAITING_SNAPSHOTS).',
    mend: 'Come back after a jittered wait.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable code: what happened (message), and what to do (mend). */
export class SnoError extends Error {
  override readonly name = 'SnoError';
  readonly code: ErrorCode;
  /** What the log says beside the message, and no client reads: names of views and columns, SQL. */
  readonly detail: string | undefined;
  /** What to do; the code's own advice unless a more exact one is known, such as the SQL to run. */
  readonly mend: string;

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly mend?: string; readonly detail?: string; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail;
    this.mend = options.mend ?? ERRORS[code].mend;
  }
}

/**
 * What a client is told of an error. Its own advice may hold SQL and goes to the log alone: a client gets the advice of
 * the code. An error that is not meant for clients is `try_again` to them.
 */
export function toldToClient({ code, message }: SnoError): { readonly code: ErrorCode; readonly message: string } {
  if (ERRORS[code].audience === 'client') return { code, message: `${message}. ${ERRORS[code].mend}` };
  return { code: 'try_again', message: `${ERRORS.try_again.cause} ${ERRORS.try_again.mend}` };
}

/** Stops the process loudly where something is false that the code relies on. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

class AssertionError extends Error {
  override readonly name = 'AssertionError';
}
