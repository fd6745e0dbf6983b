/**
 * The settings: environment variables, overridden by flags of the same name (`SNO_PORT` =
 * `--port`). Their descriptions are here, and in limits.ts, machines.ts, pusher.ts and
 * telemetry.ts. docs/settings.md is generated from them.
 */

import {
  bearer,
  bytes,
  conninfo,
  cookie,
  file,
  folder,
  hmacKey,
  host,
  identifier,
  integer,
  networks,
  oneOf,
  origins,
  text,
  url,
} from './forms.ts';
import { LIMITS, MEMORY } from './limits.ts';
import { MACHINES } from './machines.ts';
import { PUSHER } from './pusher.ts';
import { optional, type Setting, secret, setting } from './setting.ts';
import { TELEMETRY } from './telemetry.ts';

/** Every setting, grouped and ordered as in docs/settings.md. */
export const SETTING_GROUPS = {
  database: {
    SNO_DATABASE_URL: secret(
      conninfo,
      'Connection string of the database. Snö uses `DATABASE_URL` if this is not set. Missing parts come from PG* variables, as for psql.',
    ),
    SNO_SLOT: setting(identifier, 'sno', 'Name of the replication slot.'),
    SNO_SLOT_WAL_BYTES: setting(
      bytes(0),
      '8GB',
      'Bytes of WAL that Postgres may keep for the slot, at least twice SNO_REPLAY_WAL_BYTES; 0 = no bound. Snö watches this only while it runs: set max_slot_wal_keep_size for the rest of the time.',
    ),
    SNO_SLOT_WAL_POLICY: setting(
      oneOf('give_up', 'hold'),
      'give_up',
      'What Snö does at SNO_SLOT_WAL_BYTES. `give_up` drops the slot with its WAL and begins anew, so subscribers are reset (`slot_lost`). `hold` warns and keeps the slot.',
    ),
    SNO_UNDECODABLE_SECONDS: setting(
      integer(0, 86_400),
      '30',
      'Seconds for which Postgres may fail to decode the same commit (`wal_undecodable`). Snö then gives up everything up to the end of the WAL, and resets subscribers (`slot_lost`). 0 = Snö retries for ever, and sends nothing meanwhile.',
    ),
    SNO_TCP_USER_TIMEOUT_SECONDS: setting(
      integer(0, 86_400),
      '30',
      'Seconds that Postgres waits for Snö to read what it was sent, before Postgres ends the replication connection (tcp_user_timeout). This bounds what a frozen Snö costs. 0 = the value that is set in Postgres. Connections by unix socket have no bound.',
    ),
    SNO_PUBLICATION: setting(identifier, 'sno', 'Name of the publication.'),
    SNO_RULES: optional(
      folder,
      'Folder of SQL files. Snö applies them at start, in the order of their names, in one transaction.',
    ),
  },
  listening: {
    SNO_HOST: setting(host, '127.0.0.1', 'Address that clients connect to.'),
    SNO_PORT: setting(integer(0, 65_535), '8443', 'Port that clients connect to; 0 = any free port, which Snö logs.'),
    SNO_TLS: setting(
      oneOf('auto', 'off'),
      'auto',
      '`auto`: TLS if a certificate is set; without one, plain ws on loopback only. `off`: a proxy in front terminates TLS. `off` allows plain ws beyond loopback, and requests for the host names that the proxy serves.',
    ),
    SNO_TLS_CERT: optional(file, 'PEM file with the certificate chain. Snö reads it again when it changes.'),
    SNO_TLS_KEY: optional(file, 'PEM file with the private key. Snö reads it again when it changes.'),
    SNO_ADMIN_PORT: setting(
      integer(0, 65_535),
      '9443',
      'Port of the dashboard, the admin API, /metrics, /healthz and /readyz; 0 = any free port, which Snö logs.',
    ),
    SNO_ADMIN_HOST: setting(
      host,
      '127.0.0.1',
      'Address of the admin port. Beyond loopback it needs SNO_ADMIN_TOKEN, and TLS as for clients.',
    ),
    SNO_ADMIN_TOKEN: secret(
      bearer,
      "Token that requests to the admin port must carry (`Authorization: Bearer ...`), except /healthz, /readyz and the dashboard's files, which hold no data.",
    ),
    SNO_ALLOWED_ORIGINS: optional(
      origins,
      'Origins of web pages that may connect, in addition to the same host. `*.` stands for one label. `null`, `file://`, `capacitor://localhost` and similar origins are accepted too: see docs/security.md. Snö also answers requests for these hosts.',
    ),
    SNO_COOKIE: optional(
      cookie,
      'Name of the cookie that carries the token of event streams (`GET /v1/events`) and of `POST /pusher/auth`. Pages then need no header. SNO_ALLOWED_ORIGINS must name the origins: neither `*` nor `null`.',
    ),
    SNO_COMPRESS_BYTES: setting(
      bytes(0),
      '512',
      'Smallest frame in bytes that Snö compresses, for clients that offer permessage-deflate, as browsers do. 0 = Snö does not negotiate compression.',
    ),
    SNO_TRUSTED_PROXIES: optional(
      networks,
      "Proxies whose X-Forwarded-For and X-Forwarded-Host Snö trusts. The client's address is then the last one in X-Forwarded-For that is not one of these proxies. A page's origin is compared with X-Forwarded-Host, beside Host. Default: the socket's address and Host count.",
    ),
  },
  access: {
    SNO_JWT_SECRET: secret(hmacKey, 'Secret that verifies HS256, HS384 and HS512 tokens.'),
    SNO_JWT_PUBLIC_KEY: optional(
      text,
      'Public key that verifies RS, PS, ES and EdDSA tokens: PEM (SPKI), or the path of a file with it.',
    ),
    SNO_JWKS_URL: optional(url('https:', 'http:'), 'URL of the public keys (JWKS) that verify tokens.'),
    SNO_JWKS_KEEP_SECONDS: setting(
      integer(60, 31_536_000),
      '86400',
      'Seconds for which the last usable keys of SNO_JWKS_URL stay in force while it returns none: an error, no answer, or a set without a key that verifies tokens.',
    ),
    SNO_JWT_ISSUER: optional(text, 'Tokens must have this `iss`.'),
    SNO_JWT_AUDIENCE: optional(text, 'Tokens must have this `aud`.'),
    SNO_JWT_EXP: setting(
      oneOf('optional', 'required'),
      'optional',
      '`required`: tokens without `exp` are refused. `optional`: they are valid until their connection ends.',
    ),
    SNO_ACCESS: setting(
      oneOf('views', 'open'),
      'views',
      '`views`: access views decide. `open` lets every client join every channel: development only.',
    ),
    SNO_ACCESS_QUERIES: setting(
      integer(1, 100),
      '4',
      'Maximum queries of access views at the same time. Each takes a connection to the database.',
    ),
    SNO_ACCESS_BATCH: setting(integer(1, 10_000), '500', 'Maximum subscriptions in one query of an access view.'),
    SNO_ACCESS_WAITING: setting(
      integer(1, 10_000_000),
      '100000',
      'Maximum access checks that wait for an answer. At this limit, a client of the address with the most waiting checks receives `try_again`.',
    ),
    SNO_ACCESS_TIMEOUT_SECONDS: setting(
      integer(1, 600),
      '5',
      'Seconds after which a query of an access view times out. Clients that wait for it receive `try_again`.',
    ),
  },
  replay: {
    SNO_REPLAY_BYTES: setting(bytes(0), '64MB', 'Bytes of events that the journal keeps in memory for replay.'),
    SNO_REPLAY_SECONDS: setting(integer(0, 86_400), '300', 'Seconds for which the journal keeps events.'),
    SNO_REPLAY_WAL_BYTES: setting(
      bytes(0),
      '256MB',
      'Bytes of WAL that Snö may ask Postgres to keep, so that the journal can be refilled after a restart.',
    ),
  },
  memory: MEMORY,
  limits: LIMITS,
  process: {
    SNO_DRAIN_SECONDS: setting(
      integer(0, 600),
      '5',
      'Seconds over which Snö closes client connections (close code 1001) when the process is told to stop. Snö closes at least 50 a second, so it may take less time.',
    ),
    SNO_LOG_LEVEL: setting(
      oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
      'info',
      'The lowest level that is logged.',
    ),
    SNO_WORKERS: setting(
      integer(0, 256),
      '0',
      'Number of worker processes that serve clients, besides the process that reads the WAL; 0 = one process does both.',
    ),
  },
  pusher: PUSHER,
  machines: MACHINES,
  telemetry: TELEMETRY,
} as const;

/** Every setting by its name. */
export const SETTINGS = {
  ...SETTING_GROUPS.database,
  ...SETTING_GROUPS.listening,
  ...SETTING_GROUPS.access,
  ...SETTING_GROUPS.replay,
  ...SETTING_GROUPS.memory,
  ...SETTING_GROUPS.limits,
  ...SETTING_GROUPS.process,
  ...SETTING_GROUPS.pusher,
  ...SETTING_GROUPS.machines,
  ...SETTING_GROUPS.telemetry,
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;
type ValueOf<S> = S extends Setting<infer T> ? T : never;
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> };

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** `SNO_MAX_FRAME_BYTES` as a flag: `max-frame-bytes`. */
export function flagOf(name: SettingName): string {
  return name.slice('SNO_'.length).toLowerCase().replaceAll('_', '-');
}
