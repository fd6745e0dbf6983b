/** docs/howto/proxies.md: its configuration, in a real nginx and a real HAProxy. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as connectTo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../src/client/index.ts';
import { findProgram } from '../support/debian-program.ts';
import { EventClient } from '../support/event-client.ts';
import { freePort } from '../support/free-port.ts';
import { type Certificate, selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { Reader } from './reader.ts';

const run = promisify(execFile);

let reader: Reader;
let certificate: Certificate;
let httpsPort: number;
const children: ChildProcess[] = [];

beforeAll(async () => {
  [reader, certificate, httpsPort] = await Promise.all([Reader.arrive(), selfSigned(), freePort()]);
  await reader.database.query(`
    create schema channels; create schema channel_access;
    create table notes (id int primary key, body text);
    create view channels.notes as select id, body from notes; create view channel_access.notes as select;`);
  await reader.run('export SNO_DATABASE_URL=postgres://postgres:postgres@127.0.0.1:5432/app');
  await reader.follow('docs/howto/proxies.md');
});
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  await reader.leave();
  await certificate.remove();
});

/** The page's file, with the test's paths and port. */
async function saved(file: string): Promise<string> {
  const both = join(reader.folder, 'both.pem');
  await writeFile(both, `${certificate.cert}\n${await readFile(certificate.keyFile, 'utf8')}`, { mode: 0o600 });
  return (
    (await readFile(join(reader.folder, file), 'utf8'))
      .replace('/etc/ssl/sno.pem', certificate.certFile)
      .replace('/etc/ssl/sno.key', certificate.keyFile)
      .replace('/etc/ssl/sno-both.pem', both)
      // Snö asks nginx by a header not to buffer. This shows that the header is enough.
      .replace('proxy_buffering off;', '')
      .replace('listen 443 ssl', `listen 127.0.0.1:${httpsPort} ssl`)
      .replace('bind *:443', `bind 127.0.0.1:${httpsPort}`)
  );
}

async function startProxy(program: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  let errors = '';
  child.stderr?.on('data', (data: Buffer) => (errors += data));
  await until(() => {
    if (child.exitCode !== null) throw new Error(errors);
    return isOpen();
  }, 'the proxy listens');
  return child;
}

const isOpen = () =>
  new Promise<boolean>((resolve) => {
    const socket = connectTo(httpsPort, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

let id = 0;

/** Rows arrive by websocket and by event stream, one by one: a buffer would hold back the first. */
async function expectToPass(): Promise<void> {
  class Trusting extends WebSocket {
    constructor(url: string) {
      super(url, { ca: certificate.cert, headers: { origin: `https://localhost:${httpsPort}` } });
    }
  }
  const sno = connect(`https://localhost:${httpsPort}`, { WebSocket: Trusting });
  const notes = sno.live<{ id: number }>('notes');
  await until(() => {
    if (sno.error !== undefined) throw sno.error;
    return notes.status === 'live';
  }, 'the websocket is live');
  const url = `https://localhost:${httpsPort}/v1/events?channel=notes`;
  const stream = await EventClient.open(url, { ca: certificate.cert });
  await until(() => stream.events.some(({ type }) => type === 'subscribed'), 'the event stream is live');
  for (let count = 0; count < 3; count++) {
    const next = ++id;
    await reader.database.query('insert into notes values ($1)', [next]);
    await until(() => notes.get(next), 'the row comes by websocket');
    await until(
      () => stream.events.some(({ events }) => events?.some(({ key }) => key?.['id'] === next)),
      'the row comes by event stream',
    );
  }
  stream.cut();
  await sno.close();
}

test('nginx passes websockets and event streams, as docs/howto/proxies.md configures it', async () => {
  const nginx = await findProgram('nginx');
  const [configuration, site] = [join(reader.folder, 'nginx.conf'), join(reader.folder, 'site.conf')];
  await writeFile(site, await saved('sno.conf'));
  await writeFile(
    configuration,
    `daemon off; pid ${reader.folder}/nginx.pid; error_log stderr;
     events {}
     http {
       access_log off;
       ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${reader.folder}/${name};`).join(' ')}
       include ${site};
     }`,
  );
  const { stderr } = await run(nginx, ['-t', '-c', configuration, '-p', reader.folder, '-e', 'stderr']);
  expect(stderr).toContain('test is successful');
  expect(stderr).not.toMatch(/\[(warn|error|emerg)\]/);
  const child = await startProxy(nginx, ['-c', configuration, '-p', reader.folder, '-e', 'stderr']);
  await expectToPass();
  // While Snö is away, an event stream ends with 200 and a time to come back.
  await reader.stop('sno');
  const away = await EventClient.open(`https://localhost:${httpsPort}/v1/events?channel=notes`, {
    ca: certificate.cert,
  });
  await until(() => away.isEnded, 'the stream ends');
  expect([away.response.statusCode, away.retry]).toEqual([200, 5000]);
  await reader.start('SNO_TLS=off SNO_TRUSTED_PROXIES=127.0.0.1 npx sno start', 'sno');
  child.kill('SIGTERM');
  await once(child, 'exit');
});

test('HAProxy passes websockets and event streams, as docs/howto/proxies.md configures it', async () => {
  const haproxy = await findProgram('haproxy');
  const configuration = join(reader.folder, 'haproxy.conf');
  await writeFile(configuration, await saved('haproxy.cfg'));
  const { stdout, stderr } = await run(haproxy, ['-c', '-f', configuration]);
  expect(`${stdout}${stderr}`).not.toMatch(/\[(WARNING|ALERT)\]/);
  await startProxy(haproxy, ['-db', '-f', configuration]);
  await expectToPass();
});
