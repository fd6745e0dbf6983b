/**
 * The docker-compose.yml at the top, without Docker: Snö and the sample page with the settings that
 * it gives them. Only the database, ports and paths are the test's own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { plainEnvironment, SNO } from '../support/service.ts';
import { until } from '../support/wait.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMPOSE = readFileSync(`${ROOT}docker-compose.yml`, 'utf8');

let database: TestDatabase;
let own: Readonly<Record<string, string>>;
const children: ChildProcess[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  const [port, adminPort, pagePort] = [await freePort(), await freePort(), await freePort()];
  own = {
    'postgres://postgres:postgres@postgres:5432/app': database.url,
    '/sno/page': `${ROOT}examples/page`,
    '0.0.0.0': '127.0.0.1',
    8443: String(port),
    9443: String(adminPort),
    3000: String(pagePort),
  };
});
afterAll(async () => {
  for (const child of children) {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  await database.drop();
});

const here = (text: string) => Object.entries(own).reduce((all, [there, mine]) => all.replaceAll(there, mine), text);

/** The environment that docker-compose.yml gives a service, with the defaults of its variables. */
function environmentOf(service: string): Record<string, string> {
  const part = new RegExp(`^ {2}${service}:\\n(.*?)(?=^ {2}\\w|^\\w)`, 'ms').exec(COMPOSE)?.[1] ?? '';
  const lines = /^ {4}environment:\n(.*?)(?=^ {4}\w)/ms.exec(part)?.[1] ?? '';
  const pairs = [...lines.matchAll(/^ {6}(\w+): (.*)$/gm)].map(([, name = '', value = '']) => [
    name,
    here(value.replaceAll(/^"|"$/g, '').replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1')),
  ]);
  return Object.fromEntries(pairs);
}

async function start(command: readonly string[], env: Record<string, string>, serves: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, command, {
    env: { ...plainEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data));
  await until(() => {
    if (child.exitCode !== null) throw new Error(output);
    return output.includes(serves);
  }, `${command[0]} serves`);
  return child;
}

async function health(): Promise<number> {
  const env = { ...plainEnvironment(), SNO_ADMIN_PORT: here('9443') };
  const [code] = await once(spawn(process.execPath, [`${ROOT}ops/docker/healthcheck.mjs`], { env }), 'exit');
  return code as number;
}

test('the sample page shows what it writes to Postgres, and Snö is healthy until it ends', async () => {
  const settings = environmentOf('sno');
  expect(settings).toMatchObject({ SNO_TLS: 'off', SNO_RULES: `${ROOT}examples/page/rules` });
  const ports = { SNO_PORT: here('8443'), SNO_ADMIN_PORT: here('9443'), SNO_SLOT: database.name };
  const sno = await start([SNO, 'start'], { ...settings, ...ports, SNO_DRAIN_SECONDS: '0' }, '"serving"');
  expect(await health()).toBe(0);
  const page = { ...environmentOf('page'), PAGE_PORT: here('3000') };
  await start([`${ROOT}examples/page/server.mjs`], page, 'http://127.0.0.1');

  const browser = await launchBrowser();
  try {
    const tab = await browser.newPage();
    await tab.goto(here('http://127.0.0.1:3000/?port=8443'));
    const items = () => tab.locator('li').allInnerTexts();
    await until(async () => (await tab.innerText('#status')) === 'live', 'the page is live');
    await tab.getByLabel('New task').fill('Paint <b>the</b> fence');
    await tab.getByRole('button', { name: 'Add' }).click();
    await until(async () => (await items())[0]?.includes('Paint <b>the</b> fence'), 'the task is there');
    await database.query("insert into tasks (list, title) values ('ada', 'Sand'), ('eve', 'Not hers')");
    await until(async () => (await items()).length === 2, 'the row that SQL wrote is there');
    await tab.getByRole('button', { name: 'Done' }).first().click();
    await until(async () => (await items()).length === 1, 'the done task is gone');
    expect((await items())[0]).toContain('Sand');
  } finally {
    await browser.close();
  }

  sno.kill('SIGTERM');
  await once(sno, 'exit');
  expect(sno.exitCode).toBe(0);
  expect(await health()).toBe(1);
});

test('the containers run the image that the Dockerfile builds, which runs as a user without rights', () => {
  const dockerfile = readFileSync(`${ROOT}Dockerfile`, 'utf8');
  const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
  expect(last).toMatch(/^USER [1-9]\d*$/m);
  expect(last).toMatch(/^HEALTHCHECK .*CMD \["node", "healthcheck\.mjs"\]$/m);
  // everything that is copied from the folder passes .dockerignore
  const allowed = readFileSync(`${ROOT}.dockerignore`, 'utf8').split('\n');
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files = '']) => files.split(' '));
  expect(copied.length).toBeGreaterThan(5);
  expect(copied.filter((file) => !existsSync(ROOT + file))).toEqual([]);
  expect(
    copied.filter((file) => !allowed.some((entry) => file === entry.slice(1) || file.startsWith(`${entry.slice(1)}/`))),
  ).toEqual([]);
});
