/**
 * How a connection is encrypted and verified, by libpq's ssl* parameters. Files are read at each
 * connection.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate, type SecureVersion } from 'node:tls';
import { invalid } from './parse.ts';
import type { Parameter } from './sources.ts';

export interface Tls {
  /** Whether to encrypt, in the order in which it is tried on one host. */
  readonly order: readonly boolean[];
  /** libpq's name of the mode. */
  readonly mode: string;
  /** The handshake begins at once, without asking the server. */
  readonly isDirect: boolean;
  /** For `host`, as the operator named it. */
  options(host: string): ConnectionOptions;
}

type Get = (keyword: string) => Parameter | undefined;

const ORDER: Readonly<Record<string, readonly boolean[]>> = {
  disable: [false],
  allow: [false, true],
  prefer: [true, false],
};
/** Files in which distributions keep the system's trusted certificates. */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
  '/etc/ssl/ca-bundle.pem',
];

export function tlsOf(get: Get, environment: NodeJS.ProcessEnv): Tls {
  const isSystem = get('sslrootcert')?.value === 'system';
  const mode = get('sslmode')?.value ?? (isSystem ? 'verify-full' : 'prefer');
  if (isSystem && mode !== 'verify-full')
    throw invalid(
      `sslmode=${mode} is too weak for sslrootcert=system: anyone can get such a certificate; use verify-full`,
    );
  const isDirect = get('sslnegotiation')?.value === 'direct';
  const order = ORDER[mode] ?? [true];
  if (isDirect && order.includes(false))
    throw invalid(`sslmode=${mode} is too weak for sslnegotiation=direct; use require, verify-ca or verify-full`);
  return { order, mode, isDirect, options: (host) => optionsOf(get, environment, mode, host, isDirect) };
}

function optionsOf(
  get: Get,
  environment: NodeJS.ProcessEnv,
  mode: string,
  host: string,
  isDirect: boolean,
): ConnectionOptions {
  const folder = join(environment['HOME'] ?? '/', '.postgresql');
  const roots = rootsOf(get, environment, mode, folder);
  const crl = fileOf(get, 'sslcrl', join(folder, 'root.crl'), mode);
  const name = get('sslsni')?.value === '0' || /^[\d.]+$|:/.test(host) ? undefined : host;
  if (mode === 'verify-full' && host === '')
    throw invalid('sslmode=verify-full needs the name of the host, not hostaddr alone');
  return {
    host,
    ...(name === undefined ? {} : { servername: name }),
    ...(isDirect ? { ALPNProtocols: ['postgresql'] } : {}),
    rejectUnauthorized: roots !== undefined,
    ...(roots?.ca === undefined ? {} : { ca: roots.ca }),
    ...(crl === undefined || roots === undefined ? {} : { crl }),
    checkServerIdentity:
      mode === 'verify-full' ? (_name, certificate) => identityFault(host, certificate) : () => undefined,
    ...clientCertificate(get, folder, mode),
    minVersion: (get('ssl_min_protocol_version')?.value || 'TLSv1.2') as SecureVersion,
    ...versionMax(get('ssl_max_protocol_version')?.value),
  };
}

function versionMax(version: string | undefined): ConnectionOptions {
  return version === undefined || version === '' ? {} : { maxVersion: version as SecureVersion };
}

/** Node rejects a host that is an address in the certificate's common name; libpq accepts it. */
function identityFault(host: string, certificate: PeerCertificate): Error | undefined {
  const fault = checkServerIdentity(host, certificate);
  return fault !== undefined && certificate.subjectaltname === undefined && certificate.subject?.CN === host
    ? undefined
    : fault;
}

interface Roots {
  /** Undefined: Node's own root certificates. */
  readonly ca?: string;
}

/** Undefined if nothing is verified: no root file exists, and the mode requires none. */
function rootsOf(get: Get, environment: NodeJS.ProcessEnv, mode: string, folder: string): Roots | undefined {
  if (get('sslrootcert')?.value === 'system') {
    const named = environment['SSL_CERT_FILE'];
    const file = named ?? SYSTEM_ROOTS.find((each) => existsSync(each));
    return file === undefined ? {} : { ca: read(file, 'SSL_CERT_FILE') };
  }
  const ca = fileOf(get, 'sslrootcert', join(folder, 'root.crt'), mode);
  if (ca !== undefined) return { ca };
  if (!mode.startsWith('verify')) return undefined;
  throw invalid(
    `sslmode=${mode} needs the certificates to trust, and ${join(folder, 'root.crt')} does not exist: name a file by sslrootcert, or sslrootcert=system with verify-full`,
  );
}

/**
 * Returns a file's content. A file that the operator names must exist, unless the mode also allows
 * no TLS: libpq would continue without verifying.
 */
function fileOf(get: Get, keyword: string, fallback: string, mode: string): string | undefined {
  const { value = '', source = '' } = get(keyword) ?? {};
  const file = value === '' ? fallback : value;
  const isOptional = value === '' || ORDER[mode] !== undefined;
  return isOptional && !existsSync(file) ? undefined : read(file, `${keyword}, from ${source}`);
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(`${file} (${what}) cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function clientCertificate(get: Get, folder: string, mode: string): ConnectionOptions {
  if (get('sslcertmode')?.value === 'disable') return {};
  const cert = fileOf(get, 'sslcert', join(folder, 'postgresql.crt'), mode);
  if (cert === undefined) return {};
  const given = get('sslkey')?.value ?? '';
  const file = given === '' ? join(folder, 'postgresql.key') : given;
  if (process.platform !== 'win32' && !existsSync(file) && /^\w+:/.test(file))
    throw invalid('sslkey names an engine, which Snö does not support: name a file');
  if (!existsSync(file))
    throw invalid(`the client certificate (sslcert) exists, but its key ${file} (sslkey) does not`);
  const { mode: bits, uid } = statSync(file);
  // libpq's rule: a group may read a key that root owns.
  if (process.platform !== 'win32' && (bits & (uid === 0 ? 0o037 : 0o077)) !== 0)
    throw invalid(`the key ${file} (sslkey) is accessible to group or others: chmod 600 it, or 640 if root owns it`);
  const passphrase = get('sslpassword')?.value;
  return { cert, key: read(file, 'sslkey'), ...(passphrase === undefined ? {} : { passphrase }) };
}
