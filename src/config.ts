/**
 * The settings: environment variables, overridden by flags of the same name (`SNO_PORT` = `--port`).
 * Descriptions live here, with the schema; docs/settings.md is generated from it.
 */
import { z } from 'zod';
import { SnoError } from './errors.ts';

interface Setting<T extends z.ZodType = z.ZodType> {
  readonly schema: T;
  /** The default as it would be written; undefined where there is none. */
  readonly fallback?: string;
  readonly description: string;
  /** Its value is never printed or logged. */
  readonly secret?: boolean;
}

const UNITS: Record<string, number> = { '': 1, B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** `64MB`, `512kB`, `1048576`: bytes, with units of 1,024 as in Postgres. */
const bytes = z.string().transform((text, context) => {
  const match = /^(\d{1,15})\s*([kKMGT]?B)?$/.exec(text.trim());
  const value = match === null ? Number.NaN : Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? Number.NaN);
  if (Number.isSafeInteger(value)) return value;
  context.addIssue({ code: 'custom', message: 'must be a number of bytes such as 64MB, 512kB or 1048576' });
  return z.NEVER;
});
const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be a whole number from ${min} to ${max}`);
const text = z.string().min(1, 'must not be empty');
const identifier = z
  .string()
  .regex(/^[a-z0-9_]{1,63}$/, 'must be 1 to 63 of a-z, 0-9 and _ (the characters Postgres allows in a slot name)');
const list = z.string().transform((value) => value.split(',').map((item) => item.trim()).filter((item) => item !== ''));
const url = (protocols: readonly string[]) =>
  z.string().refine((value) => {
    try {
      return protocols.includes(new URL(value).protocol);
    } catch {
      return false;
    }
  }, `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);

const define = <T extends z.ZodType>(setting: Setting<T>): Setting<T> => setting;

/** Every setting, in the order of docs/settings.md. */
export const SETTINGS = {
  SNO_DATABASE_URL: define({
    schema: url(['postgres:', 'postgresql:']).optional(),
    description: 'The database, as a connection URL. `DATABASE_URL` serves where this is not set.',
    secret: true,
  }),
  SNO_HOST: define({ schema: text, fallback: '127.0.0.1', description: 'Address that clients connect to.' }),
  SNO_PORT: define({ schema: integer(0, 65_535), fallback: '8443', description: 'Port that clients connect to; 0 takes any free one and logs it.' }),
  SNO_TLS: define({
    schema: z.enum(['auto', 'off']),
    fallback: 'auto',
    description: '`off` allows plain ws beyond loopback, for a proxy that ends TLS in front. `auto`: TLS where a certificate is set; without one, loopback only.',
  }),
  SNO_TLS_CERT: define({ schema: text.optional(), description: 'PEM file with the certificate chain. Reloaded when it changes.' }),
  SNO_TLS_KEY: define({ schema: text.optional(), description: 'PEM file with the private key. Reloaded when it changes.' }),
  SNO_ADMIN_PORT: define({ schema: integer(0, 65_535), fallback: '9443', description: 'Port on loopback of /metrics, /healthz and /readyz; 0 takes any free one and logs it.' }),
  SNO_JWT_SECRET: define({ schema: z.string().min(32, 'must have at least 32 bytes').optional(), description: 'Secret of HS256, HS384 and HS512 tokens, at least 32 bytes.', secret: true }),
  SNO_JWT_PUBLIC_KEY: define({ schema: text.optional(), description: 'Public key of RS, PS, ES and EdDSA tokens: PEM (SPKI), or a file with it.' }),
  SNO_JWKS_URL: define({ schema: url(['https:', 'http:']).optional(), description: 'Where the public keys (JWKS) of tokens are.' }),
  SNO_JWT_ISSUER: define({ schema: text.optional(), description: 'Tokens must have this `iss`.' }),
  SNO_JWT_AUDIENCE: define({ schema: text.optional(), description: 'Tokens must have this `aud`.' }),
  SNO_ACCESS: define({ schema: z.enum(['views', 'open']), fallback: 'views', description: '`open` lets everyone join everything: development only.' }),
  SNO_ALLOWED_ORIGINS: define({ schema: list.optional(), description: 'Browser origins that may connect, comma-separated, or `*`. Default: the same host only.' }),
  SNO_SLOT: define({ schema: identifier, fallback: 'sno', description: 'Name of the replication slot.' }),
  SNO_PUBLICATION: define({ schema: identifier, fallback: 'sno', description: 'Name of the publication.' }),
  SNO_RULES: define({ schema: text.optional(), description: 'Folder of SQL files that are applied at start, in the order of their names, in one transaction.' }),
  SNO_REPLAY_BYTES: define({ schema: bytes, fallback: '64MB', description: 'Bytes of events that the journal keeps in memory for replay.' }),
  SNO_REPLAY_SECONDS: define({ schema: integer(0, 86_400), fallback: '300', description: 'Seconds for which the journal keeps events.' }),
  SNO_REPLAY_WAL_BYTES: define({ schema: bytes, fallback: '256MB', description: 'Bytes of WAL that Postgres may be asked to keep so that the journal can be refilled after a restart.' }),
  SNO_COMMIT_BYTES: define({ schema: bytes, fallback: '8MB', description: 'Bytes of events of one commit after which it is sent in parts.' }),
  SNO_OUTBOUND_BYTES: define({ schema: bytes, fallback: '1MB', description: 'Bytes that may wait in a client socket; beyond it the client is behind and reads from the journal at its own pace.' }),
  SNO_WAL_BUFFER_BYTES: define({ schema: bytes, fallback: '16MB', description: 'Bytes of WAL that may wait in memory before the replication socket is paused.' }),
  SNO_SNAPSHOTS: define({ schema: integer(1, 100), fallback: '4', description: 'Snapshots that are read from the database at the same time; others wait.' }),
  SNO_WORKERS: define({ schema: integer(0, 256), fallback: '0', description: 'Gateway processes; 0 = in the same process. Only 0 in this version.' }),
  SNO_NATS_URL: define({ schema: url(['nats:', 'tls:']).optional(), description: 'JetStream as the journal. Not in this version.' }),
  SNO_ROLE: define({ schema: z.enum(['all', 'ingest', 'gateway']), fallback: 'all', description: 'The parts that this process runs. Only `all` in this version.' }),
  SNO_MAX_CONNECTIONS: define({ schema: integer(0, 10_000_000), fallback: '100000', description: 'Connections in all; 0 = no limit.' }),
  SNO_MAX_CONNECTIONS_PER_ADDRESS: define({ schema: integer(0, 10_000_000), fallback: '1000', description: 'Connections of one address; 0 = no limit.' }),
  SNO_MAX_SUBSCRIPTIONS: define({ schema: integer(0, 1_000_000), fallback: '500', description: 'Subscriptions of one connection; 0 = no limit.' }),
  SNO_MAX_FRAME_BYTES: define({ schema: bytes, fallback: '65536', description: 'Bytes of one frame from a client.' }),
  SNO_MAX_FRAMES_PER_SECOND: define({ schema: integer(0, 1_000_000), fallback: '200', description: 'Frames a second from a client, averaged over 10 seconds; 0 = no limit.' }),
  SNO_DRAIN_SECONDS: define({ schema: integer(0, 600), fallback: '5', description: 'Seconds over which clients are sent away (close code 1001) when the process is told to stop.' }),
  SNO_LOG_LEVEL: define({ schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']), fallback: 'info', description: 'The least level that is logged.' }),
} as const;

export type SettingName = keyof typeof SETTINGS;
export type Settings = { readonly [Name in SettingName]: z.output<(typeof SETTINGS)[Name]['schema']> };

const NAMES = Object.keys(SETTINGS) as SettingName[];

/** `SNO_MAX_FRAME_BYTES` as a flag: `max-frame-bytes`. */
export function flagOf(name: SettingName): string {
  return name.slice('SNO_'.length).toLowerCase().replaceAll('_', '-');
}

/**
 * Reads the settings. `flags` are by setting name and override the environment. An unknown SNO_ variable or a bad
 * value throws `setting_invalid`, which names every setting at fault.
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>, flags: Readonly<Partial<Record<SettingName, string>>> = {}): Settings {
  const problems: string[] = [];
  for (const name of Object.keys(environment)) {
    if (name.startsWith('SNO_') && !(name in SETTINGS)) problems.push(`${name}: there is no such setting`);
  }
  const settings: Partial<Record<SettingName, unknown>> = {};
  for (const name of NAMES) {
    const setting: Setting = SETTINGS[name];
    const given = flags[name] ?? environment[name] ?? (name === 'SNO_DATABASE_URL' ? environment['DATABASE_URL'] : undefined);
    const result = setting.schema.safeParse(given === '' ? setting.fallback : (given ?? setting.fallback));
    if (result.success) settings[name] = result.data;
    else problems.push(`${name}: ${result.error.issues.map((issue) => issue.message).join('; ')}${setting.secret === true || given === undefined ? '' : `, got ${JSON.stringify(given)}`}`);
  }
  if (problems.length === 0) problems.push(...contradictions(settings as Settings));
  if (problems.length > 0) throw new SnoError('setting_invalid', problems.join('\n'));
  return settings as Settings;
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

function contradictions(settings: Settings): string[] {
  const problems: string[] = [];
  if ((settings.SNO_TLS_CERT === undefined) !== (settings.SNO_TLS_KEY === undefined)) problems.push('SNO_TLS_CERT, SNO_TLS_KEY: set both or neither');
  if (settings.SNO_TLS_CERT === undefined && settings.SNO_TLS !== 'off' && !LOOPBACK.test(settings.SNO_HOST)) {
    problems.push(`SNO_HOST: ${settings.SNO_HOST} is beyond loopback and there is no certificate; set SNO_TLS_CERT and SNO_TLS_KEY, or say SNO_TLS=off where a proxy ends TLS`);
  }
  if (settings.SNO_WORKERS !== 0) problems.push('SNO_WORKERS: only 0 in this version');
  if (settings.SNO_NATS_URL !== undefined) problems.push('SNO_NATS_URL: not in this version');
  if (settings.SNO_ROLE !== 'all') problems.push('SNO_ROLE: only all in this version');
  return problems;
}
