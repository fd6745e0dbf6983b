/**
 * The target of a connection string, as libpq resolves it: hosts in order, the login, and how to
 * connect.
 */
import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { invalid } from './parse.ts';
import { type Found, passwordFrom } from './passfile.ts';
import { gatherParameters, type Parameter } from './sources.ts';
import { type Tls, tlsOf } from './tls.ts';

export interface Host {
  /**
   * The operator's name for it, for certificates and password files. Empty if only an address is
   * given.
   */
  readonly name: string;
  /** The folder of a unix socket, a host name or an IP address. */
  readonly address: string;
  readonly port: number;
}

export interface Password {
  /** Undefined: no password. */
  readonly value: string | undefined;
  /** Where it was found, or where it was looked for. */
  readonly source: string;
}

export type SessionAttributes = 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby';

export interface Target {
  readonly hosts: readonly Host[];
  readonly user: string;
  readonly database: string;
  /** Whether the string, the service or the environment names the database. */
  readonly isDatabaseNamed: boolean;
  password(host: Host): Password;
  readonly options: string | undefined;
  readonly applicationName: string | undefined;
  /** For each host, in ms. 0: no limit. */
  readonly connectTimeoutMs: number;
  readonly keepAlive: boolean;
  readonly keepAliveIdleMs: number;
  readonly attributes: SessionAttributes;
  /** Hosts and their addresses are tried in random order. */
  readonly isBalanced: boolean;
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  readonly tls: Tls;
}

const PORT = 5432;
/** Debian's libpq uses the first folder, Postgres's own the second. */
const SOCKET_FOLDERS = ['/var/run/postgresql', '/tmp'];
/**
 * How long a connection may take if the string does not say, in ms. libpq would wait without a
 * limit.
 */
export const CONNECT_TIMEOUT_MS = 10_000;
/** Minimum connect timeout, in ms. A shorter one is raised to this, as in libpq 15. */
const CONNECT_TIMEOUT_MS_MIN = 2_000;

export const isSocketFolder = (address: string): boolean => address.startsWith('/');

/**
 * Throws `connection_invalid`. Reads the service file. Password files and certificates are read at
 * each connection.
 */
export function resolveTarget(conninfo: string, environment: NodeJS.ProcessEnv = process.env): Target {
  const parameters = gatherParameters(conninfo, environment);
  const get = (keyword: string): Parameter | undefined => parameters.get(keyword);
  const text = (keyword: string): string => get(keyword)?.value ?? '';
  const user = text('user') || userInfo().username;
  const database = text('dbname') || user;
  const hosts = hostsOf(text('host'), text('hostaddr'), text('port'));
  return {
    hosts,
    user,
    database,
    isDatabaseNamed: text('dbname') !== '',
    password: (host) => passwordOf(get, environment, { host, user, database }),
    options: get('options')?.value,
    applicationName: text('application_name') || text('fallback_application_name') || undefined,
    connectTimeoutMs: connectTimeoutMs(get('connect_timeout')?.value),
    keepAlive: Number(text('keepalives') || '1') !== 0,
    keepAliveIdleMs: Math.max(0, Number(text('keepalives_idle'))) * 1_000,
    attributes: (text('target_session_attrs') || 'any') as SessionAttributes,
    isBalanced: text('load_balance_hosts') === 'random',
    channelBinding: (text('channel_binding') || 'prefer') as Target['channelBinding'],
    tls: tlsOf(get, environment),
  };
}

function connectTimeoutMs(seconds: string | undefined): number {
  if (seconds === undefined) return CONNECT_TIMEOUT_MS;
  return Number(seconds) <= 0 ? 0 : Math.max(CONNECT_TIMEOUT_MS_MIN, Number(seconds) * 1_000);
}

function hostsOf(hosts: string, addresses: string, ports: string): Host[] {
  const names = hosts === '' ? [] : hosts.split(',');
  const numeric = addresses === '' ? [] : addresses.split(',');
  if (names.length > 0 && numeric.length > 0 && names.length !== numeric.length)
    throw invalid(`host has ${names.length} items, and hostaddr has ${numeric.length}`);
  const count = Math.max(names.length, numeric.length, 1);
  const portTexts = ports.split(',');
  if (portTexts.length !== 1 && portTexts.length !== count)
    throw invalid(
      `port has ${portTexts.length} items for ${count} ${count === 1 ? 'host' : 'hosts'}: give one port, or one for each host`,
    );
  return Array.from({ length: count }, (_each, index) => {
    const port = portOf(portTexts[portTexts.length === 1 ? 0 : index] as string);
    const name = names[index] ?? '';
    const address = numeric[index] ?? '';
    if (address !== '' && isIP(address) === 0)
      throw invalid('hostaddr must be an IP address, or several with commas between');
    if (name.startsWith('@'))
      throw invalid('host names an abstract unix socket, which Snö does not support: name the folder of the socket');
    return { name, address: address || name || socketFolder(port), port };
  });
}

function portOf(text: string): number {
  const port = text === '' ? PORT : /^\s*\d{1,5}\s*$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw invalid(
    "the port must be a number from 1 to 65535; if it is a part of the password, percent-encode it: '/' as %2F, '@' as %40",
  );
}

function socketFolder(port: number): string {
  if (process.platform === 'win32') return 'localhost';
  return SOCKET_FOLDERS.find((folder) => existsSync(socketFile(folder, port))) ?? (SOCKET_FOLDERS[0] as string);
}

export function socketFile(folder: string, port: number): string {
  return join(folder, `.s.PGSQL.${port}`);
}

interface LoginOf {
  readonly host: Host;
  readonly user: string;
  readonly database: string;
}

function passwordOf(
  get: (keyword: string) => Parameter | undefined,
  environment: NodeJS.ProcessEnv,
  { host, user, database }: LoginOf,
): Password {
  const given = get('password');
  if (given !== undefined && given.value !== '') return given;
  const named = get('passfile')?.value ?? '';
  const file = named === '' ? join(environment['HOME'] ?? '/', '.pgpass') : named;
  // A line for the default socket names localhost.
  const names = [host.name || host.address, ...(SOCKET_FOLDERS.includes(host.address) ? ['localhost'] : [])];
  const of = (name: string): Found => passwordFrom(file, { host: name, port: String(host.port), database, user });
  const found = names.map(of).find((each) => each !== undefined);
  if (found === undefined) return { value: undefined, source: `nor has the password file ${file} a line for it` };
  if ('ignored' in found) return { value: undefined, source: found.ignored };
  return { value: found.password, source: `the password file ${file}` };
}
