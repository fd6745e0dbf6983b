/** Connection strings with TLS: modes, certificates, files and channel binding. */
import { NEWEST } from '../support/own-server.ts';
import { at, type Case, ENCODED, NEW, QUOTED, STRICT, URL_OF } from './conninfo-case.ts';

export const TLS_CASES: readonly Case[] = [
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
  {
    conninfo: `${URL_OF}?sslmode=require&sslnegotiation=direct`,
    expected: NEWEST >= 17 ? at('app') : /sslnegotiation=direct needs Postgres 17/,
    differs: NEW,
  },
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
];
