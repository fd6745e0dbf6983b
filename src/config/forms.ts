/** The forms of settings' values: what the operator writes, and what the code gets. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { conninfoProblem } from '../postgres/conninfo/sources.ts';
import { ORIGIN_FORM, originFault } from './origins.ts';

/** A form of values: how they are read, and how error texts and docs/settings.md describe them. */
export interface Form<T> {
  readonly schema: z.ZodType<T, string>;
  readonly description: string;
}

/** A form whose values pass `valid` as they are. */
const matching = (description: string, valid: (value: string) => boolean): Form<string> => ({
  schema: z.string().refine(valid, `must be ${description}`),
  description,
});

const UNITS: Record<string, number> = { '': 1, B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** `64MB`, `512kB`, `1048576`: bytes, with units of 1,024 as in Postgres. */
export const bytes = (min: number): Form<number> => {
  const description = `a number of bytes${min > 0 ? ` from ${min}` : ''}, such as 64MB, 512kB or 1048576`;
  const read = (text: string): number => {
    const match = /^(\d{1,15})\s*([kKMGT]?B)?$/.exec(text.trim());
    return match === null ? Number.NaN : Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? Number.NaN);
  };
  const valid = (value: number) => Number.isSafeInteger(value) && value >= min;
  return { schema: z.string().transform(read).refine(valid, `must be ${description}`), description };
};

export const integer = (min: number, max: number): Form<number> => {
  const description = `a whole number from ${min} to ${max}`;
  const read = (text: string): number => (/^\d{1,15}$/.test(text) ? Number(text) : Number.NaN);
  const valid = (value: number) => value >= min && value <= max;
  return { schema: z.string().transform(read).refine(valid, `must be ${description}`), description };
};

export const oneOf = <const Value extends string>(...values: readonly Value[]): Form<Value> => {
  const description = `one of ${values.join(', ')}`;
  return { schema: z.enum(values, `must be ${description}`) as unknown as z.ZodType<Value, string>, description };
};

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text.slice(text.indexOf('=') + 1));
    return true;
  } catch {
    return false;
  }
}

const parsedUrl = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

export const url = (...protocols: readonly string[]): Form<string> =>
  matching(`a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`, (value) =>
    protocols.includes(parsedUrl(value)?.protocol ?? ''),
  );

export const origins: Form<readonly string[]> = {
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

export const networks: Form<readonly string[]> = {
  schema: z
    .string()
    .transform((value) => value.split(',').map((item) => item.trim()))
    .refine((items) => items.every(isNetwork), 'must be IP addresses or networks such as 10.0.0.0/8, comma-separated'),
  description: 'IP addresses or networks such as 10.0.0.0/8, comma-separated',
};

/** Errors show no part of the value: a misplaced part may be the password. */
export const conninfo: Form<string> = {
  schema: z.string().superRefine((value, context) => {
    const message = conninfoProblem(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  }),
  description: 'a connection string as libpq reads it: postgres://..., postgresql://... or host=... dbname=...',
};

export const text = matching('some text', (value) => value.trim() !== '');
export const file = matching('the path of a file', (value) => value.trim() !== '');
export const folder = matching('the path of a folder', (value) => value.trim() !== '');
export const host = matching(
  'a host name or an IP address, without scheme and port',
  (value) => isIP(value) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(value),
);
export const identifier = matching(
  '1 to 63 characters of a-z, 0-9 and _, as Postgres allows in the name of a slot',
  (value) => /^[a-z0-9_]{1,63}$/.test(value),
);
export const bearer = matching(
  'at least 16 characters that a Bearer token may have (A-Z a-z 0-9 - . _ ~ + / =)',
  (value) => /^[A-Za-z0-9._~+/-]{16,}=*$/.test(value),
);
export const cookie = matching('the name of a cookie', (value) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value));
/** Headers as the specification of OpenTelemetry's OTEL_EXPORTER_OTLP_HEADERS writes them. */
export const headers = matching('name=value, comma-separated, with values percent-encoded', (value) =>
  value.split(',').every((part) => /^\s*[\w!#$%&'*+.^`|~-]+\s*=/.test(part) && isDecodable(part)),
);
export const pusherName = matching('1 to 100 characters of A-Z, a-z, 0-9, _ and -', (value) =>
  /^[\w-]{1,100}$/.test(value),
);
export const hmacKey = matching('at least 32 bytes long', (value) => Buffer.byteLength(value) >= 32);

/** Servers of NATS, comma-separated. Errors show no part of the value: it may hold a password. */
export const servers: Form<readonly string[]> = {
  schema: z
    .string()
    .transform((value) => value.split(',').map((item) => item.trim()))
    .refine(
      (items) => items.every((item) => ['nats:', 'tls:'].includes(parsedUrl(item)?.protocol ?? '')),
      'must be URLs that start with nats:// or tls://, comma-separated',
    ),
  description: 'URLs that start with nats:// or tls://, comma-separated',
};

/** A name that is one token of a subject, too. */
export const streamName = matching('1 to 63 characters of A-Z, a-z, 0-9, _ and -', (value) =>
  /^[A-Za-z0-9_-]{1,63}$/.test(value),
);
