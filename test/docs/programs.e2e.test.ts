/**
 * The programs of the pages, as they are written: in Chromium, which finds sno.example.com here, or
 * in Node. The test gives a fragment only what its page says is the reader's own.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { enter } from '../service/room.ts';
import { type Stage, stage } from '../service/stage.ts';
import { launchBrowser } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { plainEnvironment, SECRET, SNO, signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { blocksOf } from './blocks.ts';
import { ORIGIN, PagePrograms, shows } from './page-programs.ts';
import { BlocksFor, ROOT, read } from './pages.ts';

const blocks = new BlocksFor('test/docs/programs.e2e.test.ts');
const run = promisify(execFile);
const PUSHER_SECRET = 'a secret of the app, thirty-two bytes';

const SCHEMA = `
  create schema channels; create schema channel_presence; create schema channel_send;
  create table tasks (id int primary key, project_id int not null, title text not null, status text not null default 'open');
  alter table tasks replica identity full;
  create view channels."project:{project_id}" as select id, project_id, title, status from tasks;
  create view channel_access."project:{project_id}" as select distinct project_id from tasks;
  create view channel_access."project.{project_id}" as select distinct project_id from tasks;
  create table users (id text primary key, name text not null, avatar text);
  create table memberships (room_id int, user_id text, muted bool not null default false, primary key (room_id, user_id));
  alter table memberships replica identity full;
  insert into users values ('ada', 'Ada'), ('bob', 'Bob');
  insert into memberships values (7, 'ada'), (7, 'bob');
  create view channel_access."room:{room_id}" as select room_id, user_id as sub from memberships;
`;

let here: Stage;
let browser: Browser;
let folder: string;
const children: ChildProcess[] = [];
let programs: PagePrograms;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sno-programs-'));
  const modules = join(folder, 'node_modules');
  await mkdir(join(modules, '@sno-realtime'), { recursive: true });
  await mkdir(join(modules, '@tanstack'));
  await newProject();
  await symlink(join(ROOT, 'dist/packages/client'), join(modules, '@sno-realtime/client'));
  await symlink(ROOT, join(modules, '@sno-realtime/sno'));
  for (const name of ['@tanstack/db', 'jose', 'pusher', 'pusher-js', 'react', 'react-dom', 'ws'])
    await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  const notes = blocksOf(read('docs/howto/token-server.md')).find(({ text }) => text.includes('create table notes'));
  const presence = blocks.take('docs/presence.md', 'create view channel_presence');
  here = await stage([SCHEMA, notes?.text, presence.text].join('\n'), {
    SNO_ACCESS: 'views',
    SNO_ALLOWED_ORIGINS: ORIGIN,
    SNO_PUSHER_APP_ID: '1001',
    SNO_PUSHER_KEY: 'app-key',
    SNO_PUSHER_SECRET: PUSHER_SECRET,
  });
  const local = `127.0.0.1:${here.service.port}`;
  const names = ['sno.example.com:443', 'sno.example.com:8443', 'host:443'];
  browser = await launchBrowser(`--host-resolver-rules=${names.map((name) => `MAP ${name} ${local}`).join(', ')}`);
  programs = new PagePrograms(browser, folder);
});
afterEach(async () => {
  await programs.close();
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await here.query("truncate tasks; insert into tasks values (7, 42, 'Paint')");
  await newProject();
});
afterAll(async () => {
  await browser?.close();
  await here?.end();
  await rm(folder, { recursive: true, force: true });
});

/** Each page has a folder of its own for its programs. */
async function newProject(): Promise<void> {
  await rm(join(folder, 'src'), { recursive: true, force: true });
  await mkdir(join(folder, 'src'));
}

/** Saves files as the reader does. */
async function save(files: Iterable<readonly [file: string, text: string]>): Promise<void> {
  for (const [file, text] of files) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
}

/** The client of docs/react.md, which other pages name. */
function reactClient(): readonly [file: string, text: string] {
  const file = 'src/sno.ts';
  return [file, blocks.files('docs/react.md').get(file) ?? ''];
}

/** Writes the channels' types as the pages say. Bundles need no types; the command must work. */
async function writeTypes(): Promise<void> {
  const env = { ...plainEnvironment(), SNO_DATABASE_URL: here.database.url, SNO_SLOT: here.database.name };
  await run(process.execPath, [SNO, 'types', '--out', 'src/channels.ts'], { cwd: folder, env });
}

const CLIENT = `import { connect as given } from '@sno-realtime/client';
  const sno = given('wss://sno.example.com/v1', { token: () => fetch('/sno-token').then((answer) => answer.text()) });`;
const TASKS = `${CLIENT} const tasks = sno.live('project:42'); await tasks.ready;`;
const RENDER = 'const render = (rows) => shown.push(structuredClone(rows));';
const SHOW = 'const show = (...all) => shown.push(all);';

const paint = { id: 7, project_id: 42, title: 'Paint', status: 'open' };
const sand = { id: 8, project_id: 42, title: 'Sand', status: 'open' };
const insertSand = () => here.query("insert into tasks values (8, 42, 'Sand')");

test.each([
  ['docs/client.md', 'tasks.get(7);', 'globalThis.got = tasks.get(7);', paint],
  ['src/client/package/README.md', 'sno.live<{ id: number', 'await tasks.ready; globalThis.got = tasks.rows;', [paint]],
])('%s: the first program renders the rows after each commit', async (page, text, after, got) => {
  await here.query("truncate tasks; insert into tasks values (7, 42, 'Paint')");
  const running = await programs.run(blocks.take(page, text).text, { given: RENDER, after });
  expect(await running.value('got')).toEqual(got);
  await insertSand();
  await shows(running, 'shown.at(-1)', [paint, sand]);
});

test('docs/client.md: a write shows at once, and is dropped when the rows include it', async () => {
  const running = await programs.run(blocks.take('docs/client.md', 'await tasks.reached(xid').text, {
    given: `${TASKS} const pending = new Map(); const [id, title] = [7, 'Varnish'];`,
    after: 'globalThis.got = [tasks.get(7).title, pending.size];',
    functions: {
      patchTask: async (id: number, { title }: { title: string }) => {
        const sql = 'update tasks set title = $2 where id = $1 returning pg_current_xact_id()::text as xid';
        return (await here.query(sql, [id, title])).rows[0];
      },
    },
  });
  expect(await running.value('got')).toEqual(['Varnish', 0]);
});

test('docs/client.md: a channel hears commits, messages and resets', async () => {
  const running = await programs.run(blocks.take('docs/client.md', "room.on('change'").text, {
    given: `${CLIENT} ${SHOW}`,
    after: 'await room.ready;',
  });
  await insertSand();
  await here.query(`select sno.publish('project:42', '{"from":"ada"}', event => 'wave')`);
  await here.query(`create or replace view channels."project:{project_id}" as
    select id, project_id, title, status from tasks where id > 0`);
  await until(async () => (await running.value<number>('shown.length')) >= 3, 'three events');
  const [change, message, reset] = await running.value<unknown[][]>('shown');
  expect(change).toEqual([expect.any(String), [{ op: 'insert', key: { id: 8 }, data: sand }]]);
  expect([message, reset]).toEqual([['wave', { from: 'ada' }], ['channel_changed']]);
});

test('docs/client.md: presence shows members, and sends reach the others', async () => {
  const bob = await enter(here.service, 'bob', { presence: true }, 'room:7');
  const running = await programs.run(blocks.take('docs/client.md', 'left }) => render(members)').text, {
    given: `${CLIENT} ${SHOW} const render = (members) => shown.push(members.map(({ info }) => info.name).sort().join(' '));`,
  });
  const sent = await bob.wait('the send', 0, ({ type, event }) => type === 'message' && event === 'typing');
  expect(sent).toMatchObject({ from: 'ada', data: { at: 3 } });
  await until(async () => (await running.value<unknown[]>('shown')).includes('Ada Bob'), 'both are shown');
  bob.send({ type: 'send', channel: 'room:7', event: 'typing', data: { at: 4 } });
  await shows(running, 'shown.at(-1)', ['typing', 'bob', { at: 4 }]);
  bob.cut();
});

test('docs/client.md: channels are typed by what `sno types` writes', async () => {
  await writeTypes();
  const running = await programs.run(blocks.take('docs/client.md', "sno.live('projekt:42')").text, {
    given: 'const projectId = 42;',
    after: `await tasks.ready; const wrong = sno.live('projekt:42');
      globalThis.got = [tasks.rows, await wrong.ready.catch(({ code }) => code)];`,
  });
  expect(await running.value('got')).toEqual([[paint], 'channel_unknown']);
});

test('docs/client.md: an error with `final` ends the client', async () => {
  const running = await programs.run(blocks.take('docs/client.md', '{ final: true }').text, {
    after: `await new Promise((resolve) => sno.on('status', ({ status }) => status === 'closed' && resolve()));
      globalThis.got = [sno.status, sno.error.message];`,
    answers: { '/sno-token': async () => ({ status: 401, body: '' }) },
  });
  expect(await running.value('got')).toEqual(['closed', expect.stringContaining('signed out')]);
});

/** Runs a program in Node, with the service's address in place of the page's. */
async function inNode(name: string, program: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const local = program
    .replaceAll('wss://sno.example.com', `wss://localhost:${here.service.port}`)
    .replaceAll("host: 'sno.example.com', port: '8443'", `host: 'localhost', port: '${here.service.port}'`);
  const { code } = await transform(local, { loader: 'ts', target: 'node20' });
  await save([[name, code]]);
  const environment = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: here.service.certificate.certFile, ...env };
  return (await run(process.execPath, [join(folder, name)], { env: environment })).stdout;
}

const PRINT_TITLES = `const tasks = sno.live('project:42'); await tasks.ready;
  console.log(tasks.rows.map(({ title }) => title).join()); await sno.close();`;

test('docs/client.md: a client in Node', async () => {
  const program = blocks.take('docs/client.md', "connect('wss://sno.example.com', { WebSocket });").text;
  expect(await inNode('node.mjs', program + PRINT_TITLES)).toBe('Paint\n');
});

test('docs/client.md: a client in Node that takes frames beyond the limit of ws', async () => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  server.on('connection', (socket) => socket.send(Buffer.alloc(101 * 1_024 * 1_024)));
  await once(server, 'listening');
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const program = blocks.take('docs/client.md', 'class Large extends WebSocket').text;
  const received = `const size = (Kind) => new Promise((resolve) => {
      const socket = new Kind('${url}');
      socket.on('error', ({ code }) => resolve(code));
      socket.on('message', (data) => { resolve(data.length); socket.terminate(); });
    });
    console.log(await size(Large), await size(WebSocket));`;
  expect(await inNode('large.mjs', program + PRINT_TITLES + received)).toBe(
    `Paint\n${101 * 1_024 * 1_024} WS_ERR_UNSUPPORTED_MESSAGE_LENGTH\n`,
  );
  server.close();
});

test('docs/presence.md: a room shows its members and hears sends', async () => {
  await save([reactClient(), ...blocks.files('docs/presence.md')]);
  await writeTypes();
  const running = await programs.run(`import './room'; import { createRoot } from 'react-dom/client';
    import { Members } from './Members'; import { sno, SnoProvider } from './sno';
    createRoot(document.querySelector('#root')).render(<SnoProvider client={sno}><Members room={7} /></SnoProvider>);`);
  const bob = await enter(here.service, 'bob', {}, 'room:7');
  await until(() => running.said.includes('live [Ada]'), 'the room says who is there');
  await until(async () => (await running.page.innerText('#root')) === 'Ada', 'the component shows the member');
  const members = await enter(here.service, 'bob', { presence: true }, 'room:7');
  await until(async () => (await running.page.innerText('#root')).split('\n').sort().join() === 'Ada,Bob', 'both');
  bob.send({ type: 'send', channel: 'room:7', event: 'typing', data: null });
  await until(() => running.said.includes('bob typing'), 'the room hears the send');
  bob.cut();
  members.cut();
});

test('docs/react.md: the app and each component follow the database', async () => {
  await save(blocks.files('docs/react.md'));
  await writeTypes();
  const { page } = await programs.run(
    `import { createRoot } from 'react-dom/client'; import { App } from './App'; import { Doorbell } from './Doorbell';
    import { Here } from './Here'; import { sno, SnoProvider } from './sno'; import { Title } from './Title';
    import { Waiting } from './Waiting';
    createRoot(document.querySelector('#root')).render(<><nav><App /></nav><SnoProvider client={sno}>
      <p id="doorbell"><Doorbell room={7} /></p><p id="here"><Here room={7} /></p><p id="waiting"><Waiting /></p>
      <Title project={42} id={7} /></SnoProvider></>);`,
    {
      functions: {
        rename: async (id: number, title: string) => {
          const sql = 'update tasks set title = $2 where id = $1 returning pg_current_xact_id()::text as xid';
          return (await here.query(sql, [id, title])).rows[0];
        },
      },
    },
  );
  const has = (selector: string, text: string) =>
    until(async () => (await page.locator(selector).innerText()).trim() === text, `${selector} shows ${text}`);
  await has('nav', 'Paint');
  await has('#waiting', '1 tasks');
  await has('#here', 'Ada');
  await insertSand();
  await until(async () => (await page.locator('nav li').allInnerTexts()).join() === 'Paint,Sand', 'the insert');
  await has('#waiting', '2 tasks');
  await page.fill('[name=title]', 'Varnish');
  await page.press('[name=title]', 'Enter');
  await until(async () => (await page.locator('nav li').allInnerTexts()).join() === 'Varnish,Sand', 'the write');
  await until(async () => {
    await here.query("select sno.publish('room:7', 'null', event => 'ring')");
    return Number(await page.locator('#doorbell').innerText()) > 0;
  }, 'the doorbell counts');
});

test('docs/tanstack.md: a collection shows the rows, and writes through the API', async () => {
  await save([reactClient(), ...blocks.files('docs/tanstack.md')]);
  await writeTypes();
  const running = await programs.run(
    `import { tasks } from './tasks'; import { tasks as typed } from './typed';
    await tasks.preload(); await typed.preload(); Object.assign(globalThis, { tasks, typed });
    const rename = tasks.update(7, (draft) => { draft.title = 'Varnish'; });
    globalThis.got = [tasks.get(7).title];
    await rename.isPersisted.promise;
    globalThis.got.push(tasks.get(7).title);`,
    {
      functions: {
        patchTask: async (id: number, { title }: { title: string }) => {
          const sql = 'update tasks set title = $2 where id = $1 returning pg_current_xact_id()::text as xid';
          return (await here.query(sql, [id, title])).rows[0];
        },
      },
    },
  );
  expect(await running.value('got')).toEqual(['Varnish', 'Varnish']);
  expect((await here.query('select title from tasks where id = 7')).rows).toEqual([{ title: 'Varnish' }]);
  await insertSand();
  for (const name of ['tasks', 'typed'])
    await shows(running, `${name}.toArray.map(({ title }) => title).sort()`, ['Sand', 'Varnish']);
});

test('docs/sse.md: an EventSource receives snapshot and changes', async () => {
  const running = await programs.run(blocks.take('docs/sse.md', 'new EventSource').text, {
    given: `const [show, apply] = ['shown', 'applied'].map((name) => (frame) => (globalThis[name] = frame)); `,
  });
  await until(async () => await running.value('globalThis.shown?.type === "snapshot"'), 'the snapshot');
  await insertSand();
  await until(async () => await running.value('globalThis.applied !== undefined'), 'the commit');
  expect(await running.value('[shown.rows, applied.events]')).toEqual([
    [{ key: { id: 7 }, data: paint }],
    [{ op: 'insert', key: { id: 8 }, data: sand }],
  ]);
});

test('docs/pusher.md: pusher-js receives the rows and their changes', async () => {
  const running = await programs.run(blocks.take('docs/pusher.md', "from 'pusher-js'").text, {
    given: `const token = () => ${JSON.stringify(await signToken({ sub: 'ada' }))}; globalThis.rows = new Map();
      const show = (all, isFirst) => { if (isFirst) rows.clear(); for (const { key, data } of all) rows.set(key.id, data.title); };
      const set = ({ id }, { title }) => rows.set(id, title); const remove = ({ id }) => rows.delete(id);`,
  });
  const titles = '[...rows.values()]';
  await shows(running, titles, ['Paint']);
  await insertSand();
  await shows(running, titles, ['Paint', 'Sand']);
  await here.query("update tasks set title = 'Rest' where id = 8");
  await shows(running, titles, ['Paint', 'Rest']);
  await here.query('delete from tasks where id = 7');
  await shows(running, titles, ['Rest']);
});

test("docs/pusher.md: Pusher's server library publishes", async () => {
  const client = await here.client('project.42');
  const program = blocks.take('docs/pusher.md', "from 'pusher';").text;
  await inNode('publish.mjs', program, { SNO_PUSHER_SECRET: PUSHER_SECRET });
  const message = await client.wait('the message', 0, ({ type }) => type === 'message');
  expect(message).toMatchObject({ channel: 'project.42', event: 'wave', data: { from: 'ada' } });
});

test('docs/howto/token-server.md: the page asks the token server, and ends when the user is signed out', async () => {
  const port = await freePort();
  const files = blocksOf(read('docs/howto/token-server.md')).find(
    ({ words }) => words.get('file') === 'token-server.mjs',
  );
  await save([['token-server.mjs', (files?.text ?? '').replaceAll('3000', String(port))]]);
  const env = { ...plainEnvironment(), SNO_JWT_SECRET: SECRET };
  const server = spawn(process.execPath, [join(folder, 'token-server.mjs')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(server);
  await once(server.stdout, 'data');
  const ask = async ({ cookie = '' }: Record<string, string>) => {
    const answer = await fetch(`http://127.0.0.1:${port}/token`, { headers: { cookie } });
    return { status: answer.status, body: await answer.text() };
  };
  const { text } = blocks.take('docs/howto/token-server.md', "fetch('/token'");
  const joined = await programs.run(text, {
    after: `const notes = sno.live('notes:acme'); await notes.ready; globalThis.got = notes.rows;`,
    answers: { '/token': ask },
    cookies: { session: 'ada' },
  });
  expect(await joined.value('got')).toEqual([{ id: 1, org: 'acme', body: 'hello' }]);
  const signedOut = await programs.run(text, {
    after: `await new Promise((resolve) => sno.on('status', ({ status }) => status === 'closed' && resolve()));
      globalThis.got = sno.error.message;`,
    answers: { '/token': ask },
  });
  expect(await signedOut.value('got')).toContain('signed out');
});

test('every program that the pages leave to this test was run', () => {
  expect(blocks.left).toEqual([]);
});
