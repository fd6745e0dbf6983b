/** The parameters that libpq knows. Snö either supports or refuses each one by name. */
import { suggest } from '../../suggest.ts';
import { shownName } from './parse.ts';

/** Returns what is wrong with a value. Undefined: it is valid. */
type Check = (value: string) => string | undefined;

interface Keyword {
  /** The environment variable that sets the value if nothing else does. */
  readonly variable?: string;
  readonly check?: Check;
}

const oneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    values.includes(value) ? undefined : `must be one of ${values.join(', ')}`;
const whole: Check = (value) => (/^\s*[+-]?\d{1,9}\s*$/.test(value) ? undefined : 'must be a whole number');
const flag = oneOf('0', '1');

/** Refuses any value but an empty one and harmless ones. */
const refused =
  (why: string, ...harmless: readonly string[]): Check =>
  (value) =>
    value === '' || harmless.includes(value) ? undefined : `is not supported: ${why}`;

const NO_GSS = 'Snö does not speak GSSAPI';
const NO_OAUTH = 'Snö logs in by password or by certificate';
const TLS_VERSION = oneOf('', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3');
const NODE_KEEPALIVES = 'Node sends up to 10 keepalives, a second apart';

const sslmode: Check = (value) => {
  const problem = oneOf('disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full')(value);
  if (problem === undefined || value !== 'no-verify') return problem;
  return `${problem}; no-verify is the name in node-postgres for require`;
};

export const KEYWORDS: Readonly<Record<string, Keyword>> = {
  service: { variable: 'PGSERVICE' },
  servicefile: { variable: 'PGSERVICEFILE' },
  user: { variable: 'PGUSER' },
  password: { variable: 'PGPASSWORD' },
  passfile: { variable: 'PGPASSFILE' },
  dbname: { variable: 'PGDATABASE' },
  host: { variable: 'PGHOST' },
  hostaddr: { variable: 'PGHOSTADDR' },
  port: { variable: 'PGPORT' },
  options: { variable: 'PGOPTIONS' },
  application_name: { variable: 'PGAPPNAME' },
  fallback_application_name: {},
  connect_timeout: { variable: 'PGCONNECT_TIMEOUT', check: whole },
  // Pinned to UTF8, as docs/operations.md says.
  client_encoding: { variable: 'PGCLIENTENCODING' },
  target_session_attrs: {
    variable: 'PGTARGETSESSIONATTRS',
    check: oneOf('any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'),
  },
  load_balance_hosts: { variable: 'PGLOADBALANCEHOSTS', check: oneOf('disable', 'random') },
  keepalives: { check: whole },
  keepalives_idle: { check: whole },
  keepalives_interval: { check: refused(NODE_KEEPALIVES, '0', '1') },
  keepalives_count: { check: refused(NODE_KEEPALIVES, '0', '10') },
  tcp_user_timeout: {
    check: refused('Node cannot set it; SNO_TCP_USER_TIMEOUT_SECONDS bounds how long Postgres waits', '0'),
  },
  sslmode: { variable: 'PGSSLMODE', check: sslmode },
  sslnegotiation: { variable: 'PGSSLNEGOTIATION', check: oneOf('postgres', 'direct') },
  // libpq has no compression with today's OpenSSL either.
  sslcompression: { variable: 'PGSSLCOMPRESSION', check: flag },
  sslcert: { variable: 'PGSSLCERT' },
  sslkey: { variable: 'PGSSLKEY' },
  sslpassword: {},
  sslcertmode: {
    variable: 'PGSSLCERTMODE',
    check: (value) =>
      value === 'require'
        ? 'is not supported: Node does not report whether the server asked for the certificate'
        : oneOf('disable', 'allow')(value),
  },
  sslrootcert: { variable: 'PGSSLROOTCERT' },
  sslcrl: { variable: 'PGSSLCRL' },
  sslcrldir: { variable: 'PGSSLCRLDIR', check: refused('name one file by sslcrl') },
  sslsni: { variable: 'PGSSLSNI', check: flag },
  sslkeylogfile: { check: refused('Snö writes no TLS keys to files') },
  ssl_min_protocol_version: { variable: 'PGSSLMINPROTOCOLVERSION', check: TLS_VERSION },
  ssl_max_protocol_version: { variable: 'PGSSLMAXPROTOCOLVERSION', check: TLS_VERSION },
  min_protocol_version: {
    variable: 'PGMINPROTOCOLVERSION',
    check: refused('Snö speaks version 3.0 of the protocol', '3.0'),
  },
  max_protocol_version: { variable: 'PGMAXPROTOCOLVERSION', check: oneOf('3.0', '3.2', 'latest') },
  channel_binding: { variable: 'PGCHANNELBINDING', check: oneOf('disable', 'prefer', 'require') },
  require_auth: {
    variable: 'PGREQUIREAUTH',
    check: refused('channel_binding=require or sslmode=verify-full protects the password from a fake server'),
  },
  requirepeer: {
    variable: 'PGREQUIREPEER',
    check: refused('Node cannot tell which user serves a socket; protect its folder by permissions'),
  },
  gssencmode: {
    variable: 'PGGSSENCMODE',
    check: (value) => (value === 'require' ? `is not supported: ${NO_GSS}` : oneOf('disable', 'prefer')(value)),
  },
  // Without GSSAPI their variables have no effect.
  krbsrvname: { check: refused(NO_GSS) },
  gsslib: { check: refused(NO_GSS) },
  gssdelegation: { check: refused(NO_GSS, '0') },
  replication: { check: refused('Snö opens its replication connection by itself') },
  scram_client_key: { check: refused(NO_OAUTH) },
  scram_server_key: { check: refused(NO_OAUTH) },
  oauth_issuer: { check: refused(NO_OAUTH) },
  oauth_client_id: { check: refused(NO_OAUTH) },
  oauth_client_secret: { check: refused(NO_OAUTH) },
  oauth_scope: { check: refused(NO_OAUTH) },
};

const FOREIGN: Readonly<Record<string, string>> = {
  uselibpqcompat: 'node-postgres knows it; Snö reads connection strings as libpq does, so leave it out',
  ssl: 'libpq knows ssl=true only; write sslmode=...',
  schema: 'Prisma knows it; Snö reads schemas of its own, such as channels, so leave it out',
  pgbouncer: 'Prisma knows it; Snö needs a connection to Postgres itself',
  connection_limit: 'Prisma knows it; leave it out',
  pool_timeout: 'Prisma knows it; leave it out',
  currentSchema: 'JDBC knows it; leave it out',
};

/** Returns what is wrong with a parameter. Undefined: it is valid. The value is never shown. */
export function parameterProblem(keyword: string, value: string): string | undefined {
  const known = Object.hasOwn(KEYWORDS, keyword) ? KEYWORDS[keyword] : undefined;
  if (known !== undefined) {
    const problem = known.check?.(value);
    return problem === undefined ? undefined : `${keyword} ${problem}`;
  }
  const foreign = Object.hasOwn(FOREIGN, keyword) ? FOREIGN[keyword] : undefined;
  const meant = suggest(keyword, Object.keys(KEYWORDS));
  const advice = foreign ?? (meant === undefined ? 'leave it out' : `did you mean ${meant}?`);
  return `${shownName(keyword)} is not a parameter that libpq knows: ${advice}`;
}
