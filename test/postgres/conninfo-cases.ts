/** Connection strings by subject. If psql is installed, it must agree on each. */
import { at, type Case, ENCODED, NEW, OWN_ROLE, PASSWORD, QUOTED, URL_OF } from './conninfo-case.ts';
import { TLS_CASES } from './tls-cases.ts';

export const CASES: Readonly<Record<string, readonly Case[]>> = {
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
  TLS: TLS_CASES,
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
