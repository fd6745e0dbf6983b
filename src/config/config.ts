/**
 * The settings: environment variables, overridden by flags of the same name (`SNO_PORT` =
 * `--port`). Descriptions live here, with the schema; docs/settings.md is generated from it.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { SnoError } from '../errors.ts';
import { conninfoProblem } from '../postgres/conninfo/sources.ts';
import { HELLO_SECONDS } from '../protocol.ts';
import { suggest } from '../suggest.ts';
import { ORIGIN_FORM, originFault } from './origins.ts';

/** A form of values: how they are read, and how docs/settings.md describes them. */
interface Form<T> {
  readonly schema: z.ZodType<T, string>;
  readonly description: string;
}

export interface Setting<T = unknown> {
  readonly form: Form<T>;
  /** The default as an operator would write it; undefined if the setting has no default. */
  readonly fallback?: string;
  readonly description: string;
  /** The value is never printed or logged. */
  readonly secret?: boolean;
}

/** A form whose values pass `valid` as they are. */
const matching = (description: string, valid: (value: string) => boolean): Form<string> => ({
  schema: z.string().refine(valid, `must be ${description}`),
  description,
});

const UNITS: Record<string, number> = { '': 1, B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** `64MB`, `512kB`, `1048576`: bytes, with units of 1,024 as in Postgres. */
const bytes = (min: number): Form<number> => {
  const description = `a number of bytes${min > 0 ? ` from ${min}` : ''}, such as 64MB, 512kB or 1048576`;
  const read = (text: string): number => {
    const match = /^(\d{1,15})\s*([kKMGT]?B)?$/.exec(text.trim());
    return match === null ? Number.NaN : Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? Number.NaN);
  };
  const valid = (value: number) => Number.isSafeInteger(value) && value >= min;
  return { schema: z.string().transform(read).refine(valid, `must be ${description}`), description };
};

const integer = (min: number, max: number): Form<number> => {
  const description = `a whole number from ${min} to ${max}`;
  const read = (text: string): number => (/^\d{1,15}$/.test(text) ? Number(text) : Number.NaN);
  const valid = (value: number) => value >= min && value <= max;
  return { schema: z.string().transform(read).refine(valid, `must be ${description}`), description };
};

const oneOf = <const Value extends string>(...values: readonly Value[]): Form<Value> => {
  const description = `one of ${values.join(', ')}`;
  return { schema: z.enum(values, `must be ${description}`) as unknown as z.ZodType<Value, string>, description };
};

const parsedUrl = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

const url = (...protocols: readonly string[]): Form<string> =>
  matching(`a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`, (value) =>
    protocols.includes(parsedUrl(value)?.protocol ?? ''),
  );

const origins: Form<readonly string[]> = {
  schema: z.string().transform((value, context) => {
    const items = value.split(',').map((item) => item.trim());
    for (const item of items) {
      const fault = originFault(item);
      if (fault !== undefined) context.addIssue(`must be ${ORIGIN_FORM}; ${JSON.stringify(item)}: ${fault}`);
    }
    return items;
  }),
  description: ORIGIN_FORM,
};

/** An IP address, or a network such as 10.0.0.0/8. */
const isNetwork = (value: string): boolean => {
  const [address = '', prefix, ...rest] = value.split('/');
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return (
    bits > 0 && rest.length === 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
  );
};

const networks: Form<readonly string[]> = {
  schema: z
    .string()
    .transform((value) => value.split(',').map((item) => item.trim()))
    .refine((items) => items.every(isNetwork), 'must be IP addresses or networks such as 10.0.0.0/8, comma-separated'),
  description: 'IP addresses or networks such as 10.0.0.0/8, comma-separated',
};

/** Errors show no part of the value: a misplaced part may be the password. */
const conninfo: Form<string> = {
  schema: z.string().superRefine((value, context) => {
    const message = conninfoProblem(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  }),
  description: 'a connection string as libpq reads it: postgres://..., postgresql://... or host=... dbname=...',
};

const text = matching('some text', (value) => value.trim() !== '');
const file = matching('the path of a file', (value) => value.trim() !== '');
const folder = matching('the path of a folder', (value) => value.trim() !== '');
const host = matching(
  'a host name or an IP address, without scheme and port',
  (value) => isIP(value) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(value),
);
const identifier = matching('1 to 63 characters of a-z, 0-9 and _, as Postgres allows in the name of a slot', (value) =>
  /^[a-z0-9_]{1,63}$/.test(value),
);
const bearer = matching('at least 16 characters that a Bearer token may have (A-Z a-z 0-9 - . _ ~ + / =)', (value) =>
  /^[A-Za-z0-9._~+/-]{16,}=*$/.test(value),
);
const hmacKey = matching('at least 32 bytes long', (value) => Buffer.byteLength(value) >= 32);

const setting = <T>(form: Form<T>, fallback: string, description: string): Setting<T> => ({
  form,
  fallback,
  description,
});
const optional = <T>(form: Form<T>, description: string): Setting<T | undefined> => ({
  form: form as Form<T | undefined>,
  description,
});
const secret = <T>(form: Form<T>, description: string): Setting<T | undefined> => ({
  ...optional(form, description),
  secret: true,
});

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
      'Port of /metrics, /healthz and /readyz; 0 = any free port, which Snö logs.',
    ),
    SNO_ADMIN_HOST: setting(
      host,
      '127.0.0.1',
      'Address of the admin port. Beyond loopback it needs SNO_ADMIN_TOKEN, and TLS as for clients.',
    ),
    SNO_ADMIN_TOKEN: secret(
      bearer,
      'Token that requests to the admin port must carry (`Authorization: Bearer ...`), except /healthz and /readyz.',
    ),
    SNO_ALLOWED_ORIGINS: optional(
      origins,
      'Origins of web pages that may connect, in addition to the same host. `*.` stands for one label. `null`, `file://`, `capacitor://localhost` and similar origins are accepted too: see docs/security.md. Snö also answers requests for these hosts.',
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
  memory: {
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
  },
  limits: {
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
      'Maximum snapshots that wait for one of SNO_SNAPSHOTS. At this limit, a client of the address with the most receives `overloaded`. 0 = no limit.',
    ),
  },
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
    SNO_NATS_URL: optional(url('nats:', 'tls:'), 'JetStream as the journal. Not supported in this version.'),
    SNO_ROLE: setting(
      oneOf('all', 'ingest', 'gateway'),
      'all',
      'The parts that this process runs. This version supports only `all`.',
    ),
  },
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
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;
type ValueOf<S> = S extends Setting<infer T> ? T : never;
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> };
type Environment = Readonly<Record<string, string | undefined>>;
type Flags = Readonly<Partial<Record<SettingName, string>>>;

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** `SNO_MAX_FRAME_BYTES` as a flag: `max-frame-bytes`. */
export function flagOf(name: SettingName): string {
  return name.slice('SNO_'.length).toLowerCase().replaceAll('_', '-');
}

/**
 * Reads the settings of a service. `flags` are keyed by setting name and override the environment.
 * An unknown SNO_ variable, an invalid value or a contradiction throws `setting_invalid`, which
 * names every setting at fault.
 */
export function readSettings(environment: Environment, flags: Flags = {}): Settings {
  const settings = readValues(environment, flags);
  refuse(contradictions(settings));
  return settings;
}

/**
 * Like `readSettings`, but without contradictions between settings: for commands that serve no
 * clients.
 */
export function readValues(environment: Environment, flags: Flags = {}): Settings {
  const problems = Object.keys(environment).filter(isUnknown).map(unknown);
  const settings: Partial<Record<SettingName, unknown>> = {};
  for (const name of SETTING_NAMES) {
    const { source, value } = given(name, environment, flags);
    const { form, fallback, secret: hidden }: Setting = SETTINGS[name];
    if (value === undefined && fallback === undefined) continue;
    const result = form.schema.safeParse(value ?? fallback);
    if (result.success) settings[name] = result.data;
    else
      problems.push(`${source}: ${result.error.issues[0]?.message}${hidden ? '' : `, got ${JSON.stringify(value)}`}`);
  }
  refuse(problems);
  return settings as Settings;
}

/**
 * Maximum bytes of WAL that the slot may hold; 0: no bound. The slot always trails by up to
 * SNO_REPLAY_WAL_BYTES, so the bound is at least twice that.
 */
export function slotWalBytes(settings: Pick<Settings, 'SNO_SLOT_WAL_BYTES' | 'SNO_REPLAY_WAL_BYTES'>): number {
  const { SNO_SLOT_WAL_BYTES: bound, SNO_REPLAY_WAL_BYTES: replay } = settings;
  return bound === 0 ? 0 : Math.max(bound, 2 * replay);
}

/** The database's URL; throws `setting_invalid` if it is not set. */
export function databaseUrl(settings: Pick<Settings, 'SNO_DATABASE_URL'>): string {
  const url = settings.SNO_DATABASE_URL;
  if (url === undefined)
    refuse(['SNO_DATABASE_URL: is not set, and neither is DATABASE_URL; this command needs the database']);
  return url as string;
}

/** The settings in a form that may be logged: a secret shows only whether it is set. */
export function printable(settings: Settings): Record<string, unknown> {
  return Object.fromEntries(
    SETTING_NAMES.map((name) => [
      name,
      (SETTINGS[name] as Setting).secret && settings[name] !== undefined ? '(set)' : settings[name],
    ]),
  );
}

/** A setting's value and its source. An empty variable counts as not set. */
function given(
  name: SettingName,
  environment: Environment,
  flags: Flags,
): { readonly source: string; readonly value: string | undefined } {
  if (flags[name] !== undefined) return { source: `${name} (--${flagOf(name)})`, value: flags[name] };
  if (name === 'SNO_DATABASE_URL' && !environment[name])
    return { source: 'DATABASE_URL', value: environment['DATABASE_URL'] || undefined };
  return { source: name, value: environment[name] || undefined };
}

const isUnknown = (name: string): boolean => name.startsWith('SNO_') && !(name in SETTINGS);

function unknown(name: string): string {
  const meant = suggest(name, SETTING_NAMES);
  return `${name}: unknown setting${meant === undefined ? '' : `; did you mean ${meant}?`}`;
}

function refuse(problems: readonly string[]): void {
  if (problems.length > 0) throw new SnoError('setting_invalid', problems.join('\n'));
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** Whether a host, by name or address, is this machine only. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** A message for each contradiction, and for each setting that only a later version supports. */
function contradictions(settings: Settings): string[] {
  const { SNO_HOST: address, SNO_ADMIN_HOST: adminAddress, SNO_ADMIN_TOKEN: adminToken } = settings;
  const { SNO_TLS: tls, SNO_TLS_CERT: cert, SNO_TLS_KEY: key } = settings;
  const isPlain = cert === undefined && key === undefined && tls !== 'off';
  const faults: readonly (readonly [boolean, string])[] = [
    [(cert === undefined) !== (key === undefined), 'SNO_TLS_CERT, SNO_TLS_KEY: set both or neither'],
    [cert !== undefined && tls === 'off', 'SNO_TLS: off contradicts SNO_TLS_CERT; unset one of them'],
    [
      isPlain && !isLoopback(address),
      `SNO_HOST: ${address} is not a loopback address, and no certificate is set; set SNO_TLS_CERT and SNO_TLS_KEY, or set SNO_TLS=off if a proxy terminates TLS`,
    ],
    [
      adminToken === undefined && !isLoopback(adminAddress),
      `SNO_ADMIN_HOST: ${adminAddress} is not a loopback address; set SNO_ADMIN_TOKEN`,
    ],
    [
      isPlain && !isLoopback(adminAddress),
      `SNO_ADMIN_HOST: ${adminAddress} is not a loopback address, and no certificate is set, so the token would cross the network in clear; set SNO_TLS_CERT and SNO_TLS_KEY, or set SNO_TLS=off if a proxy terminates TLS`,
    ],
    [settings.SNO_NATS_URL !== undefined, 'SNO_NATS_URL: is not supported in this version'],
    [settings.SNO_ROLE !== 'all', 'SNO_ROLE: this version supports only all'],
  ];
  return faults.flatMap(([isFault, message]) => (isFault ? [message] : []));
}
