/** Runs the examples unchanged. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from '../service/stage.ts';
import { launchBrowser } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { plainEnvironment } from '../support/service.ts';
import { until } from '../support/wait.ts';

const pathOf = (path: string): string => fileURLToPath(new URL(`../../examples/${path}`, import.meta.url));
const exampleOf = (name: string): string => pathOf(`node/${name}.mjs`);
const FILE = exampleOf('optimistic');
/** The SQL in the example's comment. */
const SCHEMA = [...readFileSync(FILE, 'utf8').matchAll(/^\/\/ {5}((?:create|alter) .*;)$/gm)].map(([, sql]) => sql);

const CHAT = pathOf('pusher-chat');
const CHAT_SETTINGS = { SNO_PUSHER_KEY: 'chat-key', SNO_JWT_SECRET: 'a secret of the chat, thirty-two bytes' };

let here: Stage;
let chatPort: number;
beforeAll(async () => {
  const rows = "insert into tasks values (1, 42, 'Paint'), (2, 42, 'Sand');";
  const chat = readFileSync(join(CHAT, 'schema.sql'), 'utf8');
  chatPort = await freePort();
  here = await stage(['create schema channels;', ...SCHEMA, rows, chat].join('\n'), {
    ...CHAT_SETTINGS,
    SNO_ACCESS: 'views',
    SNO_PRESENCE_GRACE_SECONDS: '0',
    SNO_PUSHER_APP_ID: '1001',
    SNO_PUSHER_SECRET: 'a secret of the app, thirty-two bytes',
    SNO_ALLOWED_ORIGINS: `http://127.0.0.1:${chatPort}`,
  });
});
afterAll(() => here.end());

test('optimistic.mjs shows typed text at once, and never the old value again', async () => {
  const { url, certificate } = here.service;
  const env = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: certificate.certFile };
  for (const [round, title] of ['Varnish', 'Polish', 'Wax'].entries()) {
    const { stdout } = await promisify(execFile)(process.execPath, [FILE, url, here.database.url, '42', '2', title], {
      env,
    });
    expect(stdout.trim().split('\n')).toEqual([
      `1 Paint, 2 ${['Sand', 'Varnish', 'Polish'][round]}`,
      `1 Paint, 2 ${title} (saving)`,
      `1 Paint, 2 ${title}`,
    ]);
  }
});

test('browser/index.html, a plain page, shows the rows and their changes', async () => {
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    const path = pathOf('browser/index.html');
    // The page as it would lie beside Snö, behind one host name.
    const address = here.service.url.replace(/^wss(.*)\/v1$/, 'https$1/index.html');
    await page.route(`${address}*`, (route) => route.fulfill({ path }));
    await page.goto(`${address}?${new URLSearchParams({ channel: 'project:42' })}`);
    await page.waitForSelector('li:has-text("Paint")');
    await here.query("insert into tasks values (3, 42, 'Rest')");
    await page.waitForSelector('li:has-text("Rest")');
    await here.query('delete from tasks where id = 3');
    await page.waitForSelector('li:has-text("Rest")', { state: 'detached' });
    expect(await page.textContent('#status')).toBe('live');
  } finally {
    await browser.close();
  }
});

test('pusher-chat: pusher-js shows members, messages of the table, and what others type', async () => {
  const { url, certificate } = here.service;
  const env = {
    ...plainEnvironment(),
    ...CHAT_SETTINGS,
    NODE_EXTRA_CA_CERTS: certificate.certFile,
    DATABASE_URL: here.database.url,
    SNO_URL: url.replace(/^wss(.*)\/v1$/, 'https$1'),
    PORT: String(chatPort),
  };
  const server = spawn(process.execPath, [join(CHAT, 'server.mjs')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(server, 'exit');
  const browser = await launchBrowser();
  try {
    await once(server.stdout, 'data');
    const enter = async (user: string) => {
      const page = await browser.newPage({ ignoreHTTPSErrors: true });
      await page.goto(`http://127.0.0.1:${chatPort}/login?user=${user}`);
      return page;
    };
    const [ada, bob, eve] = await Promise.all(['ada', 'bob', 'eve'].map(enter));
    if (ada === undefined || bob === undefined || eve === undefined) throw new Error('three pages');
    for (const page of [ada, bob]) await page.waitForSelector('#members:text-is("Ada, Bob")');
    await bob.waitForSelector('li:text-is("ada: Which colour?")');
    // The page shows it for a short time.
    const shown = ada.waitForSelector('#typing:text-is("bob typing ...")');
    await Promise.all([shown, bob.locator('[name=body]').pressSequentially('Red')]);
    expect(await bob.textContent('#typing')).toBe('');
    await bob.press('[name=body]', 'Enter');
    for (const page of [ada, bob]) await page.waitForSelector('li:text-is("bob: Red")');
    await until(async () => (await ada.textContent('#typing')) === '', 'bob has sent what he typed');
    await here.query("update messages set body = 'Blue' where body = 'Red'");
    await ada.waitForSelector('li:text-is("bob: Blue")');
    await here.query("delete from messages where body = 'Which colour?'");
    await until(async () => (await ada.locator('li').allTextContents()).join() === 'bob: Blue', 'the delete');
    await eve.waitForSelector('#status:text-is("You may not enter.")');
    expect(await eve.locator('li').count()).toBe(0);
    await bob.close();
    await ada.waitForSelector('#members:text-is("Ada")');
  } finally {
    await browser.close();
    server.kill();
    await exited;
  }
});

test.each([
  {
    example: 'node/tail.mjs',
    file: 'project%3A42.position',
    start: (env: NodeJS.ProcessEnv, cwd: string) =>
      spawn(process.execPath, [exampleOf('tail'), here.service.url, 'project:42'], { cwd, env }),
  },
  {
    example: 'curl/follow.sh',
    file: 'project_42.id',
    start: (env: NodeJS.ProcessEnv, cwd: string) => {
      const script = pathOf('curl/follow.sh');
      const url = here.service.url.replace(/^wss(.*)\/v1$/, 'https$1');
      // Its own group, since curl is a child of the shell.
      return spawn('sh', [script, url, 'project:42'], { cwd, env, detached: true });
    },
  },
])('$example, killed at any moment, continues where it stopped', async ({ example, file, start }) => {
  const { certFile } = here.service.certificate;
  const env = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: certFile, CURL_CA_BUNDLE: certFile };
  const folder = await mkdtemp(join(tmpdir(), 'sno-tail-'));
  const stored = () => readFile(join(folder, file), 'utf8').catch(() => '');
  let child: ChildProcess | undefined;
  let [printed, told] = ['', ''];
  const run = () => {
    child = start(env, folder);
    child.stdout?.on('data', (text: Buffer) => (printed += text));
    child.stderr?.on('data', (text: Buffer) => (told += text));
  };
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    // Nothing more is printed after it.
    const exited = once(child, 'close');
    if (example.endsWith('.sh')) process.kill(-(child.pid as number), 'SIGKILL');
    else child.kill('SIGKILL');
    await exited;
  };
  try {
    run();
    await until(stored, 'a position');
    await kill();
    printed = '';
    await here.query('update tasks set title = $1 where id = 1', [`while ${example} was away`]);
    run();
    await until(() => printed.includes(`while ${example} was away`), 'the commit of meanwhile');
    await kill();
    expect([told, printed].join()).not.toMatch(/missing|"type":"(snapshot|reset)"/);
  } finally {
    await kill();
    await rm(folder, { recursive: true });
  }
});
