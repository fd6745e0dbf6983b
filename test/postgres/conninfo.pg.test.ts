/**
 * Connection strings against real servers: one with TLS, unix sockets and a varied pg_hba.conf, and
 * a standby without TLS. If psql is installed, it must agree on each row.
 */
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLogger } from '../../src/logger.ts';
import {
  createClient,
  createParsingPool,
  createPlainClient,
  createReplicationClient,
} from '../../src/postgres/connect.ts';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { Listener } from '../../src/postgres/listener.ts';
import { createAuthority } from '../support/authority.ts';
import { freePort } from '../support/free-port.ts';
import { NEWEST, ownServer } from '../support/postgres.ts';
import { psql } from '../support/psql.ts';
import { until } from '../support/wait.ts';
import { prepare, streamOf } from '../wal/consumer.ts';
import { databaseOf } from '../wal/own-database.ts';

const HBA = `
local   all  asks     scram-sha-256
local   all  all      trust
hostssl all  withcert all cert
hostssl all  tlsonly  all scram-sha-256
hostnossl all  clearonly  all scram-sha-256
host    all  refused  all reject
host    all  open,chief  all trust
host    all  md5      all md5
host    all  cleartext  all password
host    all  tlsonly,clearonly,withcert  all reject
host    all  all      all scram-sha-256
`;
const ROLES = ['app', 'asks', 'withcert', 'tlsonly', 'clearonly', 'refused', 'open', 'md5', 'cleartext'];
const PASSWORD = "p#a%b@c:d/e?f g'h\\i";
const ENCODED = encodeURIComponent(PASSWORD).replaceAll("'", '%27');
/** The password, quoted for a keyword=value string. */
const QUOTED = `'${PASSWORD.replace(/[\\']/g, '\\$&')}'`;
const OWN_ROLE = userInfo().username;

const WHERE = `select current_user || '/' || current_database() as "user", coalesce(inet_server_port(), 0) as port,
  (select ssl from pg_stat_ssl where pid = pg_backend_pid())::text as tls`;
/**
 * Ports. P: the primary, S: the standby, X: no server listens, M: a server that does not answer.
 */
const PORTS = { P: 0, S: 0, X: 0, M: 0 };
let folder: string;
let primary: EmbeddedPostgres;
let standby: EmbeddedPostgres;
const mute = createServer(() => undefined);

/** Replaces {names} by the paths and ports of this run. */
const filled = (text: string): string =>
  text
    .replaceAll('{dir}', folder)
    .replaceAll('{%dir}', encodeURIComponent(folder))
    .replace(/\{([PSXM])\}/g, (_all, name: keyof typeof PORTS) => String(PORTS[name]));

interface Case {
  readonly conninfo: string;
  /** `user/database port tls`, or the error's text. */
  readonly expected: string | RegExp;
  readonly env?: Readonly<Record<string, string>>;
  /** Lines of ~/.pgpass, and its mode. */
  readonly passfile?: readonly [lines: string, mode?: number];
  /** The reason why psql 15 differs. */
  readonly differs?: string;
}

const at = (user: string, port = '{P}', tls = true, database = 'shop') => `${user}/${database} ${port} ${tls}`;
const URL_OF = `postgres://app:${ENCODED}@127.0.0.1:{P}/shop`;
const NEW = 'libpq 15 does not know it';
const STRICT = 'libpq goes on without verifying';

const CASES: Readonly<Record<string, readonly Case[]>> = {
  'URIs and pairs': [
    { conninfo: URL_OF, expected: at('app') },
    { conninfo: URL_OF.replace('postgres:', 'postgresql:'), expected: at('app') },
    { conninfo: `host=127.0.0.1 port={P} user=app dbname=shop password=${QUOTED}`, expected: at('app') },
    { conninfo: ` user = app host='127.0.0.1'port={P} dbname=shop  password = ${QUOTED} `, expected: at('app') },
    { conninfo: 'postgres://open@127.0.0.1:{P}/sh%6Fp', expected: at('open') },
    { conninfo: 'postgres://127.0.0.1:{P}/shop?user=open', expected: at('open') },
    { conninfo: 'postgres:///shop?user=open&host=127.0.0.1&port={P}', expected: at('open') },
    { conninfo: 'postgres://open@[::1]:{P}/shop', expected: at('open') },
    { conninfo: 'host=::1 port={P} user=open dbname=shop', expected: at('open') },
    { conninfo: 'postgres://open@127.0.0.1:{P}', expected: at('open', '{P}', true, 'open') },
    {
      conninfo: 'postgres://127.0.0.1:{P}/shop',
      expected: new RegExp(`asks for the password of ${OWN_ROLE}, which is missing`),
    },
    {
      conninfo: 'postgres://app:p#a@127.0.0.1:{P}/shop',
      expected: /password authentication failed.*the connection string/,
    },
    { conninfo: 'postgres://app:p%a@127.0.0.1:{P}/shop', expected: /in password a '%' is not followed by .* %25/ },
    { conninfo: 'postgres://app:p@a@127.0.0.1:{P}/shop', expected: /contains '@'.* %40/ },
    { conninfo: 'postgres://app:p/a@127.0.0.1:{P}/shop', expected: /port must be a number .* %2F/ },
    { conninfo: 'postgres://open@[::1:{P}/shop', expected: /IPv6 address/ },
    { conninfo: `${URL_OF}?sslmod=require`, expected: /sslmod is not a parameter .* did you mean sslmode/ },
    { conninfo: `${URL_OF}?uselibpqcompat=true`, expected: /uselibpqcompat .* node-postgres/ },
    { conninfo: `${URL_OF}?sslmode=no-verify`, expected: /sslmode must be one of .* for require/ },
    { conninfo: `${URL_OF}?sslmode`, expected: /sslmode of the URI lacks '='/ },
    { conninfo: `${URL_OF}?options=-c a=b`, expected: /options in the URI contains '='/ },
    { conninfo: 'host=127.0.0.1 password=two words', expected: /a word has no '='/ },
    { conninfo: "host=127.0.0.1 password='open", expected: /the quoted value of password has no end/ },
    { conninfo: 'mysql://app@127.0.0.1/shop', expected: /must be a URI .* or pairs/ },
    { conninfo: 'host=127.0.0.1 port=99999', expected: /port must be a number/ },
  ],
  environment: [
    {
      conninfo: 'postgres://',
      env: { PGHOST: '127.0.0.1', PGPORT: '{P}', PGUSER: 'app', PGDATABASE: 'shop', PGPASSWORD: PASSWORD },
      expected: at('app'),
    },
    {
      conninfo: 'postgres://open@127.0.0.1:{P}/shop',
      env: { PGPORT: '1', PGUSER: 'app', PGSSLMODE: 'disable' },
      expected: at('open', '{P}', false),
    },
    { conninfo: 'postgres://open@{P}/shop', env: { PGHOSTADDR: '127.0.0.1', PGPORT: '{P}' }, expected: at('open') },
    { conninfo: URL_OF, env: { PGSSLMODE: 'no' }, expected: /sslmode must be one of .*PGSSLMODE/ },
    {
      conninfo: URL_OF,
      env: { PGPASSWORD: 'another', PGSERVICE: 'missing' },
      expected: /the service missing is missing in the service files: .*pg_service.conf/,
    },
    {
      conninfo: URL_OF,
      env: { PGREQUIREPEER: 'x' },
      expected: /requirepeer is not supported.*PGREQUIREPEER/,
      differs: 'Node cannot do it',
    },
    { conninfo: 'service=here', env: { PGSERVICEFILE: '{dir}/services' }, expected: at('open') },
    {
      conninfo: 'postgres://app@/?service=here',
      env: { PGSERVICEFILE: '{dir}/services' },
      expected: /asks for the password of app/,
    },
    { conninfo: 'postgres:///', env: { PGSERVICE: 'here', PGSERVICEFILE: '{dir}/services' }, expected: at('open') },
    {
      conninfo: 'service=bad',
      env: { PGSERVICEFILE: '{dir}/services' },
      expected: /colour is not a parameter .*the service bad/,
    },
    { conninfo: 'service=here', env: { PGSERVICEFILE: '{dir}/none' }, expected: /the service file .* does not exist/ },
  ],
  passwords: [
    {
      conninfo: 'postgres://app@127.0.0.1:{P}/shop',
      expected: /which is missing; the password file .*\.pgpass does not exist\n/,
    },
    {
      conninfo: 'postgres://app@127.0.0.1:{P}/shop',
      env: { PGPASSWORD: 'wrong' },
      expected: /password authentication failed.*comes from PGPASSWORD/,
    },
    { conninfo: 'postgres://md5@127.0.0.1:{P}/shop', expected: /which is missing/ },
    { conninfo: 'postgres://cleartext@127.0.0.1:{P}/shop', expected: /which is missing/ },
    { conninfo: `postgres://md5:${ENCODED}@127.0.0.1:{P}/shop`, expected: at('md5') },
    { conninfo: `postgres://cleartext:${ENCODED}@127.0.0.1:{P}/shop`, expected: at('cleartext') },
    {
      conninfo: 'postgres://app@127.0.0.1:{P}/shop',
      passfile: ['# a\nother:*:*:*:x\n127.0.0.1:{P}:shop:app:{password}\n*:*:*:*:y'],
      expected: at('app'),
    },
    { conninfo: 'postgres://app@127.0.0.1:{P}/shop', passfile: ['*:*:*:app:{password}\r\n'], expected: at('app') },
    {
      conninfo: 'postgres://app@127.0.0.1:{P}/shop',
      passfile: ['*:*:*:app:{password}', 0o644],
      expected: /\.pgpass is accessible to group or others.* chmod 600/,
    },
    {
      conninfo: 'postgres://app@127.0.0.1:{P}/shop',
      passfile: ['*:*:*:app:wrong'],
      expected: /password authentication failed.*the password file/,
    },
    { conninfo: 'postgres://app@[::1]:{P}/shop', passfile: ['\\:\\:1:*:sh\\op:app:{password}'], expected: at('app') },
    { conninfo: 'postgres://app@127.0.0.1:{P}/shop?passfile={%dir}%2Fpass', expected: at('app') },
    { conninfo: 'postgres://app@127.0.0.1:{P}/shop', env: { PGPASSFILE: '{dir}/pass' }, expected: at('app') },
    {
      conninfo: 'postgres://app@127.0.0.1:{P}/shop',
      env: { PGPASSFILE: '{dir}/none' },
      expected: /the password file .*none does not exist\n/,
    },
    {
      conninfo: 'postgres://asks@{%dir}:{P}/shop',
      passfile: ['{dir}:*:*:asks:{password}'],
      expected: at('asks', '0', false),
    },
  ],
  'unix sockets': [
    { conninfo: 'postgresql://open@{%dir}:{P}/shop', expected: at('open', '0', false) },
    { conninfo: 'postgresql:///shop?host={dir}&port={P}&user=open', expected: at('open', '0', false) },
    { conninfo: 'host={dir} port={P} user=open dbname=shop sslmode=require', expected: at('open', '0', false) },
    { conninfo: 'host={dir},127.0.0.1 port={X},{P} user=open dbname=shop', expected: at('open') },
    {
      conninfo: 'host={dir} port={X} user=open dbname=shop',
      expected: /\.s\.PGSQL\.{X}: .*ENOENT.*unix_socket_directories/,
    },
  ],
  TLS: [
    { conninfo: `${URL_OF}?sslmode=disable`, expected: at('app', '{P}', false) },
    { conninfo: `${URL_OF}?sslmode=allow`, expected: at('app', '{P}', false) },
    { conninfo: `${URL_OF}?sslmode=require`, expected: at('app') },
    { conninfo: `${URL_OF}?ssl=true`, expected: at('app') },
    { conninfo: `postgres://tlsonly:${ENCODED}@127.0.0.1:{P}/shop?sslmode=allow`, expected: at('tlsonly') },
    { conninfo: `postgres://clearonly:${ENCODED}@127.0.0.1:{P}/shop`, expected: at('clearonly', '{P}', false) },
    {
      conninfo: `postgres://tlsonly:${ENCODED}@127.0.0.1:{P}/shop?sslmode=disable`,
      expected: /pg_hba.conf rejects .*no encryption.*sslmode=require/,
    },
    { conninfo: 'postgres://open@127.0.0.1:{S}/shop', expected: at('open', '{S}', false) },
    {
      conninfo: 'postgres://open@127.0.0.1:{S}/shop?sslmode=require',
      expected: /the server does not support TLS, and sslmode=require/,
    },
    {
      conninfo: `${URL_OF}?sslmode=verify-full`,
      expected: /sslmode=verify-full needs the certificates to trust.*root\.crt does not exist/,
    },
    { conninfo: `${URL_OF}?sslmode=verify-full&sslrootcert={%dir}%2Froot.crt`, expected: at('app') },
    { conninfo: `${URL_OF}?sslmode=verify-ca`, env: { PGSSLROOTCERT: '{dir}/root.crt' }, expected: at('app') },
    { conninfo: `${URL_OF}?sslmode=require&sslrootcert={%dir}/root.crt`, expected: at('app') },
    { conninfo: `${URL_OF}?sslmode=require&sslrootcert={%dir}/other.crt`, expected: /certificate.*sslrootcert/ },
    { conninfo: `${URL_OF}?sslmode=verify-ca&sslrootcert={%dir}/other.crt`, expected: /certificate.*sslrootcert/ },
    { conninfo: `${URL_OF}?sslmode=prefer&sslrootcert={%dir}/other.crt`, expected: at('app', '{P}', false) },
    { conninfo: `${URL_OF}?sslmode=prefer&sslrootcert={%dir}/missing.crt`, expected: at('app') },
    {
      conninfo: `${URL_OF}?sslmode=verify-ca&sslrootcert={%dir}/missing.crt`,
      expected: /missing\.crt \(sslrootcert, from the connection string .*\) cannot be read/,
    },
    {
      conninfo: `${URL_OF}?sslmode=require`,
      env: { PGSSLROOTCERT: '{dir}/missing.crt' },
      expected: /missing\.crt .*PGSSLROOTCERT\) cannot be read/,
      differs: STRICT,
    },
    {
      conninfo: `postgres://app:${ENCODED}@localhost:{P}/shop?sslmode=verify-full&sslrootcert={%dir}/root.crt`,
      expected: /altnames.*sslmode=verify-ca/,
    },
    {
      conninfo: `postgres://app:${ENCODED}@localhost:{P}/shop?sslmode=verify-ca&sslrootcert={%dir}/root.crt`,
      expected: at('app'),
    },
    {
      conninfo: `host=db.example.test hostaddr=127.0.0.1 port={P} user=app dbname=shop password=${QUOTED} sslmode=verify-full sslrootcert={dir}/root.crt`,
      expected: at('app'),
    },
    {
      conninfo: `hostaddr=127.0.0.1 port={P} user=app dbname=shop password=${QUOTED} sslmode=verify-full sslrootcert={dir}/root.crt`,
      expected: /needs the name of the host/,
    },
    {
      conninfo: `${URL_OF}?sslrootcert=system`,
      env: { SSL_CERT_FILE: '{dir}/root.crt' },
      expected: at('app'),
      differs: NEW,
    },
    {
      conninfo: `${URL_OF}?sslrootcert=system`,
      env: { SSL_CERT_FILE: '{dir}/other.crt' },
      expected: /certificate/,
      differs: NEW,
    },
    {
      conninfo: `${URL_OF}?sslrootcert=system&sslmode=require`,
      expected: /too weak for sslrootcert=system/,
      differs: NEW,
    },
    { conninfo: 'postgres://withcert@127.0.0.1:{P}/shop', expected: /client certificate.*sslcert/ },
    {
      conninfo: 'postgres://withcert@127.0.0.1:{P}/shop?sslcert={dir}/withcert.crt&sslkey={dir}/withcert.key',
      expected: at('withcert'),
    },
    {
      conninfo: 'postgres://withcert@127.0.0.1:{P}/shop?sslmode=require',
      env: { PGSSLCERT: '{dir}/withcert.crt', PGSSLKEY: '{dir}/readable.key' },
      expected: /readable\.key \(sslkey\) is accessible to group or others/,
    },
    {
      conninfo: 'postgres://withcert@127.0.0.1:{P}/shop?sslmode=require&sslcert={dir}/withcert.crt&sslkey={dir}/none',
      expected: /its key .*none \(sslkey\) does not/,
    },
    {
      conninfo: `${URL_OF}?sslmode=require&sslcert={dir}/none`,
      expected: /none \(sslcert, .*cannot be read/,
      differs: STRICT,
    },
    {
      conninfo: `${URL_OF}?sslmode=require&sslcert={dir}/withcert.crt&sslcertmode=disable`,
      expected: at('app'),
      differs: NEW,
    },
    { conninfo: `${URL_OF}?sslmode=require&sslnegotiation=direct`, expected: at('app'), differs: NEW },
    { conninfo: `${URL_OF}?sslnegotiation=direct`, expected: /too weak for sslnegotiation=direct/, differs: NEW },
    { conninfo: `${URL_OF}?sslmode=require&ssl_max_protocol_version=TLSv1.2&sslsni=0`, expected: at('app') },
    { conninfo: `${URL_OF}?gssencmode=disable&sslcompression=0&krbsrvname=`, expected: at('app') },
    { conninfo: `${URL_OF}?gssencmode=require`, expected: /gssencmode is not supported: .*GSSAPI/ },
    { conninfo: `${URL_OF}?channel_binding=require`, expected: at('app') },
    { conninfo: `${URL_OF}?channel_binding=disable`, expected: at('app') },
    {
      conninfo: `${URL_OF}?channel_binding=require&sslmode=disable`,
      expected: /channel_binding=require, and the connection is not encrypted/,
    },
    {
      conninfo: `postgres://md5:${ENCODED}@127.0.0.1:{P}/shop?channel_binding=require`,
      expected: /channel_binding=require, and the login/,
    },
    {
      conninfo: 'postgres://open@127.0.0.1:{P}/shop?channel_binding=require',
      expected: /channel_binding=require, and the login/,
    },
  ],
  'several hosts': [
    { conninfo: 'postgres://open@127.0.0.1:{X},127.0.0.1:{P}/shop', expected: at('open') },
    { conninfo: 'postgres://open@no.such.host.invalid:{P},127.0.0.1:{S}/shop', expected: at('open', '{S}', false) },
    { conninfo: 'postgres://open@127.0.0.1:{S},127.0.0.1:{P}/shop', expected: at('open', '{S}', false) },
    ...['read-write', 'primary'].map((attributes) => ({
      conninfo: `postgres://open@127.0.0.1:{S},127.0.0.1:{P}/shop?target_session_attrs=${attributes}`,
      expected: at('open'),
    })),
    ...['read-only', 'standby', 'prefer-standby'].map((attributes) => ({
      conninfo: `postgres://open@127.0.0.1:{P},127.0.0.1:{S}/shop?target_session_attrs=${attributes}`,
      expected: at('open', '{S}', false),
    })),
    { conninfo: 'postgres://open@127.0.0.1:{P}/shop?target_session_attrs=prefer-standby', expected: at('open') },
    {
      conninfo: 'postgres://open@127.0.0.1:{S}/shop?target_session_attrs=primary',
      expected: /is a standby, but target_session_attrs requires primary\nName the other servers/,
    },
    {
      conninfo: 'postgres://open@127.0.0.1/shop?target_session_attrs=prefer-standby',
      env: { PGPORT: '{P}', PGTARGETSESSIONATTRS: 'standby' },
      expected: at('open'),
    },
    {
      conninfo: 'postgres://open@127.0.0.1/shop?target_session_attrs=master',
      expected: /target_session_attrs must be one of any/,
    },
    {
      conninfo: 'postgres://open@127.0.0.1:{X},127.0.0.1:{P}/shop?load_balance_hosts=random',
      expected: at('open'),
      differs: NEW,
    },
    { conninfo: `postgres://app:wrong@127.0.0.1:{P},127.0.0.1:{S}/shop`, expected: /password authentication failed/ },
    { conninfo: 'postgres://open@127.0.0.1:{X},127.0.0.1:{X}/shop', expected: /ECONNREFUSED.*listen_addresses/ },
    { conninfo: 'postgres://open@127.0.0.1:{M},127.0.0.1:{P}/shop?connect_timeout=2', expected: at('open') },
    {
      conninfo: 'host=a,b,c port=1,2 user=open',
      expected: /port has 2 items for 3 hosts/,
    },
    { conninfo: 'host=a,b hostaddr=127.0.0.1 user=open', expected: /host has 2 items, and hostaddr has 1/ },
    { conninfo: 'hostaddr=localhost user=open', expected: /hostaddr must be an IP address/ },
  ],
  'what the server says': [
    {
      conninfo: 'postgres://open@127.0.0.1:{P}/nowhere',
      expected: /"nowhere" does not exist.*create database nowhere;(?!.*pg_hba)/s,
    },
    { conninfo: 'postgres://open@127.0.0.1:{P}/No%20Where', expected: /create database "No Where";/ },
    {
      conninfo: 'host=127.0.0.1 port={P} user=md5 dbname=shop password=no',
      expected: /^(?!.*pg_hba).*password authentication failed/s,
    },
    {
      conninfo: 'postgres://refused@127.0.0.1:{P}/shop',
      expected: /pg_hba\.conf rejects.*add a line for refused, database shop/,
    },
    { conninfo: 'postgres://nobody@{%dir}:{P}/shop', expected: /"nobody" does not exist.*create role nobody login/ },
    { conninfo: 'postgres://open@127.0.0.1:{P}/closed', expected: /not currently accepting.*alter database closed/ },
    {
      conninfo: 'postgres://open@127.0.0.1:{P}/private',
      expected: /permission denied.*grant connect on database private to open/,
    },
  ],
  refused: [
    'keepalives_interval=5',
    'keepalives_count=3',
    'tcp_user_timeout=1',
    'requirepeer=x',
    'sslcrldir=x',
    'krbsrvname=x',
    'replication=database',
  ]
    .map((text) => text.split('=') as [string, string])
    .map(([name, value]) => ({
      conninfo: `${URL_OF}?${name}=${value}`,
      expected: new RegExp(`${name} is not supported: `),
      differs: 'Node or Snö cannot do it',
    })),
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sno-conn-'));
  await chmod(folder, 0o777);
  await mkdir(join(folder, 'home'));
  const authority = await createAuthority(folder, 'root');
  await createAuthority(folder, 'other');
  const server = await authority.issue('db.example.test', [
    { type: 2, value: 'db.example.test' },
    { type: 7, ip: '127.0.0.1' },
  ]);
  const { keyFile } = await authority.issue('withcert');
  await writeFile(join(folder, 'readable.key'), await (await import('node:fs/promises')).readFile(keyFile), {
    mode: 0o644,
  });
  await writeFile(join(folder, 'hba'), HBA);
  await writeFile(join(folder, 'hba-without-tls'), HBA.replace(/^hostssl.*\n/gm, ''));
  const common = { listen_addresses: '127.0.0.1,::1', unix_socket_directories: folder };
  [primary, standby] = await Promise.all([ownServer({ settings: common }), ownServer({ settings: common })]);
  const { uid, gid } = await stat(primary.dataDirectory);
  await chown(server.keyFile, uid, gid);
  for (const each of [primary, standby]) {
    const client = new pg.Client({ connectionString: each.url() });
    await client.connect();
    // fewer rounds of hashing, if the version allows it
    await client.query(
      `select set_config('scram_iterations', '16', false) where current_setting('server_version_num')::int >= 160000`,
    );
    for (const role of ROLES) {
      if (role === 'md5') await client.query(`set password_encryption = 'md5'`);
      await client.query(`create role ${role} login replication password ${client.escapeLiteral(PASSWORD)}`);
      await client.query(`set password_encryption = 'scram-sha-256'`);
    }
    await client.query('create role chief superuser login');
    if (OWN_ROLE !== 'postgres') await client.query(`create role ${client.escapeIdentifier(OWN_ROLE)} login`);
    for (const database of ['shop', 'open', 'closed', 'private']) await client.query(`create database ${database}`);
    await client.query('alter database closed allow_connections false; revoke connect on database private from public');
    await client.end();
  }
  await primary.restart({
    hba_file: join(folder, 'hba'),
    ssl: 'on',
    ssl_cert_file: server.certFile,
    ssl_key_file: server.keyFile,
    ssl_ca_file: authority.certFile,
  });
  await writeFile(join(standby.dataDirectory, 'standby.signal'), '', { mode: 0o600 });
  await chown(join(standby.dataDirectory, 'standby.signal'), uid, gid);
  // `restart` resolves only for a primary
  standby.restart({ hba_file: join(folder, 'hba-without-tls') }).catch(() => undefined);
  mute.listen(0, '127.0.0.1');
  PORTS.P = primary.port;
  PORTS.S = standby.port;
  PORTS.X = await freePort();
  await until(() => mute.listening, 'a port that does not answer');
  PORTS.M = (mute.address() as { port: number }).port;
  await writeFile(join(folder, 'pass'), `*:*:*:app:${escaped(PASSWORD)}\n`, { mode: 0o600 });
  await writeFile(
    join(folder, 'services'),
    filled('# c\n[other]\nhost=x\n[here]\nhost=127.0.0.1\nport={P}\n\nuser=open\ndbname=shop\n[bad]\ncolour=red\n'),
  );
  await until(async () => {
    const client = createPlainClient(filled('postgres://open@127.0.0.1:{S}/shop'), 'test');
    await client.connect();
    await client.end();
    return true;
  }, 'the standby takes connections');
});

afterAll(async () => {
  mute.close();
  await Promise.all([primary.stop('immediate'), standby.stop('immediate')]);
  await rm(folder, { recursive: true, force: true });
});

const escaped = (text: string): string => text.replace(/[\\:]/g, '\\$&');

/** Runs with only the case's environment variables. */
async function within<T>({ env = {}, passfile }: Case, work: (env: NodeJS.ProcessEnv) => Promise<T>): Promise<T> {
  const home = join(folder, 'home');
  const file = join(home, '.pgpass');
  await rm(file, { force: true });
  if (passfile !== undefined) {
    const [lines, mode = 0o600] = passfile;
    await writeFile(file, filled(lines).replaceAll('{password}', escaped(PASSWORD)));
    await chmod(file, mode);
  }
  const before = { ...process.env };
  const kept = Object.entries(before).filter(([name]) => !name.startsWith('PG') && name !== 'SSL_CERT_FILE');
  const own = Object.entries(env).map(([name, value]) => [name, filled(value)]);
  const clean = { ...Object.fromEntries(kept), HOME: home, LC_ALL: 'C', ...Object.fromEntries(own) };
  process.env = clean;
  try {
    return await work(clean);
  } finally {
    process.env = before;
  }
}

async function place(client: pg.Client): Promise<string> {
  try {
    await client.connect();
    const { rows } = await client.query<{ user: string; port: string | number; tls: string }>(WHERE);
    const { user, port, tls } = rows[0] as { user: string; port: string | number; tls: string };
    return `${user} ${port} ${tls}`;
  } catch (error) {
    const { code, message, hint } = error as { code?: string; message: string; hint?: string };
    return `${code}: ${message}\n${hint}`.replace(/^(database_unreachable|connection_invalid|missing_privilege): /, '');
  } finally {
    await client.end();
  }
}

const shown = ({ conninfo, env, passfile }: Case): string =>
  [
    conninfo.replaceAll(ENCODED, '...').replaceAll(QUOTED, '...'),
    ...Object.entries(env ?? {}).map((pair) => pair.join('=')),
    ...(passfile ?? []),
  ].join(' ');

describe.each(Object.entries(CASES))('%s', (title, cases) => {
  const replicates = title === 'several hosts' || title === 'unix sockets';
  test.each(cases.map((each) => [shown(each), each] as const))('%s', async (_name, each) => {
    const conninfo = filled(each.conninfo);
    const expected =
      typeof each.expected === 'string'
        ? filled(each.expected)
        : (expect.stringMatching(new RegExp(filled(each.expected.source), 's')) as string);
    await within(each, async (env) => {
      const succeeds = typeof each.expected === 'string';
      const [found, replicating, oracle] = await Promise.all([
        place(createClient(conninfo, 'test')),
        replicates && succeeds ? place(createReplicationClient(conninfo, 'test')) : undefined,
        each.differs === undefined ? psql(conninfo, WHERE, env).catch((error: Error) => error) : undefined,
      ]);
      expect(found).toEqual(expected);
      if (replicates && succeeds) expect(replicating).toBe(expected);
      expect(found).not.toContain(PASSWORD);
      if (oracle === undefined) return;
      if (succeeds) expect(oracle).toBe(expected);
      else expect(oracle).toBeInstanceOf(Error);
    });
  });
});

test('pools, LISTEN and the replication stream accept the same string', async () => {
  const url = filled('postgres://chief@127.0.0.1:{X},127.0.0.1:{S},127.0.0.1:{P}/shop?target_session_attrs=primary');
  const database = { ...databaseOf(primary, NEWEST), url };
  const onShop = async (sql: string) => {
    const client = createPlainClient(url, 'test');
    await client.connect();
    const result = await client.query(sql);
    await client.end();
    return result as never;
  };
  await prepare({ ...database, query: onShop });
  const { stream, consumer } = streamOf({ ...database, name: 'shop' });
  const heard: string[] = [];
  const listener = new Listener({
    url,
    channel: 'sno',
    logger: createLogger('silent'),
    onNotification: (payload) => heard.push(payload),
    retryMs: () => 10,
  });
  const pool = createParsingPool(url, 'access', 1, { statementMs: 20_000, timeoutMs: 25_000 });
  try {
    await stream.start();
    await listener.start();
    await pool.query("insert into public.t values (1, repeat('x', 1000000)); notify sno, 'hello'");
    await until(() => consumer.ids.length === 1 && heard.length === 1, 'the row and the notification');
    expect(consumer.commits[0]?.changes).toEqual([`insert t 1,${'x'.repeat(1_000_000)}`]);
    const { rows } = await pool.query(
      `select application_name as name, ssl from pg_stat_activity join pg_stat_ssl using (pid)
       where application_name like 'sno %' and application_name <> 'sno test' order by 1`,
    );
    expect(rows).toEqual(
      ['access', 'notify', 'query', 'replication'].map((role) => ({ name: `sno ${role}`, ssl: true })),
    );
  } finally {
    await Promise.all([stream.stop(), listener.stop(), pool.end()]);
  }
});
