/**
 * Every error of Snö, with its stable code. docs/errors.md is generated from this record. A code
 * that is missing here does not compile.
 */

interface ErrorEntry {
  /** The reader: the operator (command line, log) or a client (error frame). */
  readonly audience: 'operator' | 'client';
  readonly cause: string;
  readonly hint: string;
}

export const ERRORS = {
  // operator: settings and start
  setting_invalid: {
    audience: 'operator',
    cause: 'A setting is unknown, malformed or missing, or two settings contradict each other.',
    hint: 'Correct the setting that the message names. docs/settings.md lists all settings.',
  },
  usage: {
    audience: 'operator',
    cause: 'The command line has an unknown command or flag, or an argument is missing.',
    hint: 'See `sno --help` and `sno COMMAND --help`.',
  },
  database_unreachable: {
    audience: 'operator',
    cause: 'Snö could not connect to Postgres, or the connection ended.',
    hint: 'Do what the message says. Else check SNO_DATABASE_URL, and check that Postgres runs and is reachable from this machine.',
  },
  connection_invalid: {
    audience: 'operator',
    cause:
      'The connection string, a PG* variable, the service file or a file that one of them names (certificate, key) is invalid. Or it asks for something that Snö does not support.',
    hint: 'Correct what the message names. "Connection strings" in docs/operations.md lists all parameters.',
  },
  session_settings: {
    audience: 'operator',
    cause: 'A connection to Postgres lacks the settings that Snö asked for when it connected.',
    hint: "A pooler in between drops the settings. Connect to Postgres itself, or through a pooler that pools whole sessions and passes on the startup packet's options.",
  },
  connections_exhausted: {
    audience: 'operator',
    cause: 'The role, the database or the server has reached its connection limit.',
    hint: 'Raise the limit that the message names. docs/operations.md says how many connections Snö needs.',
  },
  database_too_old: {
    audience: 'operator',
    cause: 'The server is older than Postgres 15.',
    hint: 'Upgrade to Postgres 15 or newer.',
  },
  database_standby: {
    audience: 'operator',
    cause: 'The server is a standby, which is read-only.',
    hint: 'Connect to the primary. A Snö that already runs retries until the server is promoted.',
  },
  wal_level_not_logical: {
    audience: 'operator',
    cause:
      'The wal_level of the server is too low to decode row changes. Postgres 15 to 18 need `logical`. From 19 on, `replica` is enough.',
    hint: "Run `alter system set wal_level = 'logical'` and restart Postgres (managed Postgres: use the provider's setting).",
  },
  missing_privilege: {
    audience: 'operator',
    cause: 'The database role lacks a privilege that Snö needs.',
    hint: 'Run the SQL that the message shows, with a role that may run it. `sno setup` prints all of it.',
  },
  setup_required: {
    audience: 'operator',
    cause: 'The database was not set up, or another version set it up, and this role may not do it.',
    hint: 'Run `sno setup --apply` with a privileged role, or run the SQL that `sno setup` prints.',
  },
  slot_in_use: {
    audience: 'operator',
    cause: 'Another process streams from the replication slot.',
    hint: 'Stop the other process, or give this one its own slot with SNO_SLOT.',
  },
  slot_mismatch: {
    audience: 'operator',
    cause: 'The slot exists, but it is physical, belongs to another plugin or database, or was created with two_phase.',
    hint: 'Drop that slot, or choose another name with SNO_SLOT.',
  },
  slot_blocked: {
    audience: 'operator',
    cause: 'Postgres could not create the slot in time: it waits for running transactions to end.',
    hint: 'End the transactions that the message names, then start again.',
  },
  slots_exhausted: {
    audience: 'operator',
    cause: 'Postgres has no free replication slot or WAL sender.',
    hint: 'Raise max_replication_slots and max_wal_senders, or drop unused slots.',
  },
  slot_lost: {
    audience: 'operator',
    cause:
      'Something other than this process dropped, invalidated, moved or recreated the replication slot, so commits may be missing.',
    hint: 'No action is needed: Snö creates a new slot and epoch, and resets subscribers. See max_slot_wal_keep_size in docs/operations.md.',
  },
  wal_undecodable: {
    audience: 'operator',
    cause:
      'Postgres cannot decode a commit. A row may be over 1 GB as text, or a text may have no form in UTF-8. A row filter or an output function may raise an error. A library, memory or disk space may be missing.',
    hint: 'Remove the cause that the message names. After SNO_UNDECODABLE_SECONDS, Snö gives that commit up and resets subscribers (`slot_lost`). See docs/operations.md.',
  },
  spool_failed: {
    audience: 'operator',
    cause:
      'Snö could not keep a large transaction in progress: SNO_SPOOL_BYTES is reached, the disk of SNO_SPOOL_DIR is full, or the folder cannot be written to. Or a savepoint was rolled back, and Postgres does not tell whether a published message belongs to it.',
    hint: 'No commit is lost: for 10 minutes Postgres keeps large transactions itself, and other commits wait while it sends them. Raise SNO_SPOOL_BYTES, or give SNO_SPOOL_DIR a folder with room.',
  },
  slot_wal_exceeded: {
    audience: 'operator',
    cause: 'Postgres holds more WAL for the slot than SNO_SLOT_WAL_BYTES, or will soon.',
    hint: 'End what the message names: a transaction that stays open, or a Snö that is stopped or too slow. At the bound, SNO_SLOT_WAL_POLICY decides. docs/operations.md says more.',
  },
  package_missing: {
    audience: 'operator',
    cause: 'A setting needs a package that is not installed: optional packages were left out.',
    hint: 'Install the packages that the message names, or unset the setting.',
  },
  address_in_use: {
    audience: 'operator',
    cause: 'Another process uses the port that Snö should listen on.',
    hint: 'Stop the other process, or choose another port with SNO_PORT or SNO_ADMIN_PORT.',
  },
  worker_failed: {
    audience: 'operator',
    cause: 'A worker process (SNO_WORKERS) ended by itself: before it could serve clients, or because of a bug.',
    hint: 'Read what it logged. If it ran out of memory, give the machine more or set SNO_WORKERS lower.',
  },
  relay_unreachable: {
    audience: 'operator',
    cause:
      'NATS or its JetStream does not answer. Meanwhile Postgres keeps the WAL, within the bounds of the slot, and clients stay connected.',
    hint: 'Check that the servers of SNO_NATS_URL run, that JetStream is enabled, and that most of the servers of a cluster reach each other. Snö goes on by itself.',
  },
  relay_refused: {
    audience: 'operator',
    cause: 'NATS refused the credentials, or they do not allow what Snö does.',
    hint: 'Check SNO_NATS_CREDS. docs/scale.md lists the subjects that the user must be allowed to use.',
  },
  relay_full: {
    audience: 'operator',
    cause: 'JetStream has no room for the message: its storage or the account has reached a limit.',
    hint: 'Free disk space, raise the limits of JetStream (max_file_store) or of the account, or lower SNO_NATS_MAX_BYTES. Snö goes on by itself.',
  },
  relay_stream: {
    audience: 'operator',
    cause:
      'The stream in JetStream cannot be made, or another program made it with other properties, or gave it a limit that Snö cannot keep.',
    hint: 'Choose another name with SNO_NATS_STREAM, delete that stream, or correct SNO_NATS_REPLICAS, which cannot exceed the number of servers.',
  },
  relay_stream_lost: {
    audience: 'operator',
    cause:
      'The stream in JetStream was deleted, or lost messages that it had confirmed. Snö publishes them again from the WAL.',
    hint: 'Nothing has to be done. If it happens again, check the disks of the NATS servers, and who deletes streams.',
  },
  relay_superseded: {
    audience: 'operator',
    cause:
      'Another process reads the WAL and publishes. This process had been stopped, or cut off, and publishes nothing more.',
    hint: 'Nothing has to be done: this process stands by. If two processes take turns, give them the same SNO_SLOT and SNO_NATS_STREAM, and different ones to another installation.',
  },
  relay_hole: {
    audience: 'operator',
    cause:
      'Messages that this process had not read yet are gone from the stream: it was purged, or this process was away for too long.',
    hint: 'Subscribers were reset. Raise SNO_NATS_MAX_AGE_SECONDS or SNO_NATS_MAX_BYTES if the stream drops messages too early.',
  },
  relay_version: {
    audience: 'operator',
    cause: 'A process received part of the stream from a Snö process of a version that it cannot read.',
    hint: 'Run the same version of Snö in all processes.',
  },
  tls_invalid: {
    audience: 'operator',
    cause: 'The certificate or key file cannot be read, is not PEM, or the two do not match.',
    hint: 'Correct SNO_TLS_CERT and SNO_TLS_KEY.',
  },
  channel_refused: {
    audience: 'operator',
    cause: 'Snö cannot keep a view in schema channels live from the WAL.',
    hint: 'Change the underlined part of the view as the message says.',
  },
  row_security: {
    audience: 'operator',
    cause:
      'Row-level security applies to the role by whose rights a channel view reads its table. Snapshots would lack rows that events have.',
    hint: 'Run the SQL that the message shows, so that the view reads all rows. The access view decides which clients may join a channel.',
  },
  pattern_invalid: {
    audience: 'operator',
    cause: 'The name of a channel view or access view is not a valid channel pattern.',
    hint: 'Use A-Za-z0-9_.:/- and {column}, at most 63 bytes. Each {column} must be an output column of the view.',
  },
  pattern_conflict: {
    audience: 'operator',
    cause: 'Two patterns could produce the same channel name.',
    hint: 'Rename one of the two views that the message names.',
  },
  replica_identity: {
    audience: 'operator',
    cause: 'The WHERE or the placeholders use columns whose old values Postgres does not put into the WAL.',
    hint: 'A unique index over NOT NULL columns with short values may cover these columns and the key. If so, run ALTER TABLE ... REPLICA IDENTITY USING INDEX. Else run the ALTER TABLE that the message shows. Postgres 19 refuses REPACK (CONCURRENTLY) of a table with REPLICA IDENTITY FULL.',
  },
  table_unpublished: {
    audience: 'operator',
    cause: "A channel's table is not in the publication, and Snö could not add it.",
    hint: 'Run the ALTER PUBLICATION that the message shows, as the owner of both.',
  },
  writers_open: {
    audience: 'operator',
    cause:
      'A table was published while open transactions had written to it. Postgres never sends a part of what they commit, so no client may join its channels before they have ended.',
    hint: 'No action is needed: Snö serves the channels once these transactions have ended. Until then, clients receive `try_again`. The log names the transactions: end one that was forgotten.',
  },
  access_open: {
    audience: 'operator',
    cause: 'SNO_ACCESS=open: every client may join every channel.',
    hint: 'Unset SNO_ACCESS and create access views.',
  },
  token_keys_missing: {
    audience: 'operator',
    cause: 'No key to check tokens with is set: clients can join only channels whose access view asks for no claim.',
    hint: 'Set SNO_JWT_SECRET (32 bytes or more), SNO_JWT_PUBLIC_KEY or SNO_JWKS_URL. For development, `sno token` signs with SNO_JWT_SECRET.',
  },
  access_failing: {
    audience: 'operator',
    cause: 'The database did not answer an access check. The clients that waited receive `try_again`.',
    hint: 'Check that Postgres runs, is reachable from this machine, and answers within SNO_ACCESS_TIMEOUT_SECONDS.',
  },
  key_server_failing: {
    audience: 'operator',
    cause: 'SNO_JWKS_URL returns no usable keys. The known keys stay in force for SNO_JWKS_KEEP_SECONDS.',
    hint: 'See what SNO_JWKS_URL answers.',
  },
  messages_dropped: {
    audience: 'operator',
    cause:
      'A message that an app published by sno.publish, sno.trace or pg_notify is malformed, or its channel is unknown.',
    hint: 'Write messages by sno.publish, traces by sno.trace, and create a view for the channel. docs/protocol.md describes the payload of pg_notify.',
  },
  rules_failed: {
    audience: 'operator',
    cause: 'A SQL file of the rules folder, or of `sno check`, failed. Nothing was applied.',
    hint: 'Correct the file at the place that the message shows.',
  },
  embedded_postgres_failed: {
    audience: 'operator',
    cause:
      'The embedded Postgres server of the demo is not installed for this platform, or does not run on this machine.',
    hint: 'Do what the message says, or use your own Postgres: `sno start` with SNO_DATABASE_URL.',
  },
  server_unreachable: {
    audience: 'operator',
    cause: '`sno tail` could not open a websocket connection to Snö, or the connection was closed.',
    hint: 'Check that `sno start` runs there. Check SNO_HOST and SNO_PORT or --url, and the certificate (--insecure skips its check).',
  },
  decode_failed: {
    audience: 'operator',
    cause: 'The WAL stream had bytes that are not pgoutput protocol version 1. This is a bug.',
    hint: 'Report it with the message.',
  },

  admin_token_required: {
    audience: 'operator',
    cause: 'The request to the admin port has no token, or a token other than SNO_ADMIN_TOKEN (HTTP 401).',
    hint: 'Send `Authorization: Bearer` with the token.',
  },
  admin_host_refused: {
    audience: 'operator',
    cause:
      'The request to the admin port names a host other than this machine. DNS rebinding makes browsers send such requests (HTTP 421).',
    hint: 'Use localhost or 127.0.0.1 in the URL. From elsewhere, set SNO_ADMIN_HOST and SNO_ADMIN_TOKEN.',
  },
  admin_request_refused: {
    audience: 'operator',
    cause:
      'The request to the admin API comes from a web page of another origin, or lacks the header X-Sno-Admin although it needs it (HTTP 403).',
    hint: 'Use the dashboard of the admin port itself. Scripts send `X-Sno-Admin: 1` with each POST, and with `values=true`.',
  },
  admin_request_invalid: {
    audience: 'operator',
    cause: 'A parameter or the body of the request to the admin API is missing or invalid (HTTP 400).',
    hint: 'Correct what the message names. docs/admin-api.md lists the routes.',
  },
  admin_busy: {
    audience: 'operator',
    cause: 'The admin API serves as many streams of frames, or explanations, as it may at a time (HTTP 503).',
    hint: 'Close other dashboards, or try again later.',
  },
  admin_failed: {
    audience: 'operator',
    cause: 'The admin API could not answer (HTTP 500). This is a bug, unless Postgres does not answer.',
    hint: 'The log has the reason. Report it if Postgres answers.',
  },

  // client: error frames
  malformed_frame: {
    audience: 'client',
    cause: 'The frame is not a JSON object of a known type with the right members.',
    hint: 'Send frames as docs/protocol.md describes.',
  },
  hello_required: {
    audience: 'client',
    cause: 'The first frame was not hello, or no frame arrived within SNO_HELLO_SECONDS.',
    hint: 'Send {"type":"hello"} first.',
  },
  hello_repeated: {
    audience: 'client',
    cause: 'The client sent a second hello on one connection.',
    hint: 'Use {"type":"token"} to change the token.',
  },
  token_invalid: {
    audience: 'client',
    cause:
      'The token is malformed or longer than SNO_MAX_TOKEN_BYTES, its signature does not verify, or issuer or audience differ.',
    hint: "Get a new token from the app's server.",
  },
  token_expired: {
    audience: 'client',
    cause: 'The token has expired or is not valid yet.',
    hint: 'Get a new token. The client library asks for one through its token callback.',
  },
  token_unverifiable: {
    audience: 'client',
    cause: 'The server has no key to check tokens with, or the JWKS URL returns no usable key set.',
    hint: 'Set SNO_JWT_SECRET, SNO_JWT_PUBLIC_KEY or SNO_JWKS_URL. Retry when the key server answers.',
  },
  channel_invalid: {
    audience: 'client',
    cause: 'The name is not a canonical channel name, or is longer than SNO_MAX_CHANNEL_BYTES.',
    hint: 'Write values as Postgres prints them, with every character outside A-Za-z0-9_.~- percent-encoded.',
  },
  channel_unknown: {
    audience: 'client',
    cause: 'No channel view or access view matches this channel.',
    hint: 'Create a view in schema channels whose pattern matches, or correct the name.',
  },
  channel_unavailable: {
    audience: 'client',
    cause: 'The channel view was dropped, or it exists but Snö refuses it.',
    hint: "Retry slowly: a migration may be under way. The server's log and `sno check` show the reason.",
  },
  access_undeclared: {
    audience: 'client',
    cause: 'The channel has no access view, so no client may join it.',
    hint: "Create an access view for it. The server's log shows the SQL.",
  },
  access_denied: {
    audience: 'client',
    cause:
      'The access view has no row for this channel and the claims of this token. Perhaps the connection has no token, or a claim is missing or of another type. Or the view raises an error. The message says which. The log names the claims that the view asks for.',
    hint: 'Give the user access, or use another token.',
  },
  presence_undeclared: {
    audience: 'client',
    cause: 'The subscription asks for presence, and the channel has no presence view.',
    hint: 'Create a view of the same name in the schema channel_presence (docs/presence.md), or subscribe without presence.',
  },
  presence_denied: {
    audience: 'client',
    cause:
      'The presence view has no row for this channel and the `sub` of this token, so the client may not appear. Or the row is too large, or the view raises an error.',
    hint: 'Give the user a row, or subscribe with `"presence":"watch"`.',
  },
  send_undeclared: {
    audience: 'client',
    cause: 'The channel has no send view, so no client may send to it.',
    hint: 'Create a view of the same name in the schema channel_send (docs/presence.md).',
  },
  send_denied: {
    audience: 'client',
    cause: 'The send view has no row for this channel and the claims of this token.',
    hint: 'Give the user a row, or use another token.',
  },
  send_invalid: {
    audience: 'client',
    cause: 'The event of a send is empty, too long or has control characters, or its data is too large.',
    hint: 'Do what the message says. Larger data belongs into a table, or into sno.publish().',
  },
  too_many_sends: {
    audience: 'client',
    cause: 'The connection sent more than SNO_MAX_SENDS_PER_SECOND. Snö dropped the send.',
    hint: 'Send less often, or raise the setting.',
  },
  already_subscribed: {
    audience: 'client',
    cause: 'This connection is subscribed to the channel, or is joining it.',
    hint: 'Unsubscribe first.',
  },
  not_subscribed: {
    audience: 'client',
    cause: 'This connection is not subscribed to the channel.',
    hint: 'No action is needed.',
  },
  too_many_subscriptions: {
    audience: 'client',
    cause: 'The connection has SNO_MAX_SUBSCRIPTIONS subscriptions, including those that are still being checked.',
    hint: 'Unsubscribe from channels that are not on the screen, or raise the setting.',
  },
  position_invalid: {
    audience: 'client',
    cause: '`since` is not a position that Snö gave, or the frame has both `since` and `snapshot`.',
    hint: 'Send the position of the last frame unchanged, or ask for a snapshot.',
  },
  snapshot_unavailable: {
    audience: 'client',
    cause: 'The channel has no channel view, and so has no rows to read. It carries published messages only.',
    hint: 'Create the channel view for its rows, or subscribe without snapshot to receive messages only.',
  },
  try_again: {
    audience: 'client',
    cause:
      'The database could not answer (unreachable or too slow), or the channel will be served soon (`writers_open`). Or the stream is behind, so Snö does not know yet whether the channel exists. Snö granted no access.',
    hint: 'Retry with a growing and jittered wait, as the client library does.',
  },
  frame_too_large: {
    audience: 'client',
    cause:
      'The frame is larger than SNO_MAX_FRAME_BYTES, or has more fragments than SNO_MAX_FRAGMENTS or more pieces than SNO_MAX_FRAME_PIECES.',
    hint: 'Send smaller frames, each in one piece.',
  },
  too_many_requests: {
    audience: 'client',
    cause:
      'The connection sent more frames a second than SNO_MAX_FRAMES_PER_SECOND (pings count, and each 4 kB of a frame). Or it waits for more commits than SNO_MAX_WAITING_COMMITS.',
    hint: 'Send fewer frames.',
  },
  origin_refused: {
    audience: 'client',
    cause: 'The web page that opens the connection has an origin that is not allowed (HTTP 403).',
    hint: 'Serve the page from the same host, or add its origin to SNO_ALLOWED_ORIGINS.',
  },
  host_refused: {
    audience: 'client',
    cause:
      'The request names a host that is not this server. DNS rebinding makes browsers send such requests (HTTP 421).',
    hint: 'Use localhost or 127.0.0.1 in the URL. Behind a proxy that terminates TLS, set SNO_TLS=off. Or add the page to SNO_ALLOWED_ORIGINS.',
  },
  starting: {
    audience: 'client',
    cause: 'The service is starting (HTTP 503, or an `error` event of an event stream).',
    hint: 'Retry with a growing and jittered wait, as the client library does. The log says what the service waits for.',
  },
  websocket_required: {
    audience: 'client',
    cause:
      'The request is plain HTTP, or an upgrade to another protocol, but this path serves only websockets (HTTP 426).',
    hint: 'Open a websocket: new WebSocket("wss://host/v1").',
  },
  not_found: {
    audience: 'client',
    cause: 'This path does not exist (HTTP 404).',
    hint: 'Websockets are at /v1, event streams at /v1/events, the client library at /sno.js.',
  },
  parameters_invalid: {
    audience: 'client',
    cause:
      'The URL of an event stream names no channel, or its `snapshot`, `old`, `presence` or `ids` has an unknown value (HTTP 400).',
    hint: 'Use GET /v1/events?channel=project:42&snapshot=true, with each channel name percent-encoded. `old` is `true` or `false`, `presence` is `watch`, `ids` is `with` or `after`.',
  },
  pusher_request_invalid: {
    audience: 'client',
    cause: 'A request or a subscription of a Pusher library lacks a parameter, or has an invalid one (HTTP 400).',
    hint: 'Correct what the message names. docs/pusher.md lists the names of channels and the requests.',
  },
  method_refused: {
    audience: 'client',
    cause: 'The path of event streams serves GET, HEAD and OPTIONS only (HTTP 405).',
    hint: 'Use GET.',
  },
  request_malformed: {
    audience: 'client',
    cause: 'The bytes are not an HTTP request, or not a websocket handshake of version 13 (HTTP 400).',
    hint: 'Open a websocket: new WebSocket("wss://host/v1").',
  },
  header_too_large: {
    audience: 'client',
    cause: 'The head of the HTTP request is larger than SNO_MAX_HEADER_BYTES (HTTP 431).',
    hint: 'Send fewer or smaller headers. For an event stream, name fewer channels.',
  },
  body_refused: {
    audience: 'client',
    cause: 'The HTTP request has a body, and Snö accepts none (HTTP 413).',
    hint: 'Send data over the websocket.',
  },
  token_in_url: {
    audience: 'client',
    cause:
      'The URL has a token in it, which proxies and browsers keep in their logs (HTTP 400). Snö did not check the token.',
    hint: 'Send the token in the hello frame, in an Authorization header, or in the cookie of SNO_COOKIE. Revoke the token that was in the URL: treat it as leaked.',
  },
  signature_invalid: {
    audience: 'client',
    cause:
      "A request to /apps is not signed as Pusher's server libraries sign: by SNO_PUSHER_SECRET, for its URL and body, at most 10 minutes ago.",
    hint: "Give the library the values of SNO_PUSHER_APP_ID, SNO_PUSHER_KEY and SNO_PUSHER_SECRET, and set its machine's clock.",
  },
  overloaded: {
    audience: 'client',
    cause:
      'The server or the address has reached its connection limit. Or SNO_MAX_WAITING_SNAPSHOTS snapshots, or channels that resume from older history, already wait.',
    hint: 'Retry after a jittered wait.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable code: what happened (message), and what to do (hint). */
export class SnoError extends Error {
  override readonly name = 'SnoError';
  readonly code: ErrorCode;
  /** For the log only, never for a client: names of views and columns, SQL. */
  readonly detail: string | undefined;
  /** What to do: exact advice such as the SQL to run, or else the code's general advice. */
  readonly hint: string;

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly hint?: string; readonly detail?: string; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail;
    this.hint = options.hint ?? ERRORS[code].hint;
  }
}

/**
 * The error as a client receives it. The error's own advice may hold SQL and goes only to the log:
 * a client receives the advice of the code. An error that is not meant for clients becomes
 * `try_again`.
 */
export function toldToClient({ code, message }: SnoError): { readonly code: ErrorCode; readonly message: string } {
  if (ERRORS[code].audience === 'client') return { code, message: `${message}. ${ERRORS[code].hint}` };
  return { code: 'try_again', message: `${ERRORS.try_again.cause} ${ERRORS.try_again.hint}` };
}

/** Throws if a condition that the code relies on is false. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

class AssertionError extends Error {
  override readonly name = 'AssertionError';
}
