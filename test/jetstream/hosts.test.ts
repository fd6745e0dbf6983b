/** Hosts in network namespaces: a cut is silent, and a healed connection goes on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { createHosts, type Host } from '../support/hosts.ts';
import { until } from '../support/wait.ts';

const PORT = 7_000;
const TICKS = `require('node:net').createServer((socket) => {
  const timer = setInterval(() => socket.write('.'), 20);
  socket.on('error', () => {}).on('close', () => clearInterval(timer));
}).listen(${PORT}, '0.0.0.0')`;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function run({ launch }: Host, script: string): ChildProcess {
  const child = spawn(launch[0] as string, [...launch.slice(1), process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  ends.push(() => child.kill('SIGKILL'));
  return child;
}

/** What a host receives from the ticking host, `closed` included. */
function listen(host: Host, address: string): { readonly text: () => string } {
  const child = run(
    host,
    `(function dial() {
      const socket = require('node:net').connect(${PORT}, '${address}');
      socket.on('data', (data) => process.stdout.write(data));
      socket.on('error', (error) => error.code === 'ECONNREFUSED' ? setTimeout(dial, 20) : process.stdout.write(error.code));
    })()`,
  );
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (data: string) => {
    text += data;
  });
  return { text: () => text };
}

test('a cut between two hosts is silent and concerns no other, and heals', { timeout: 120_000 }, async () => {
  const hosts = await createHosts(['ticking', 'cut', 'other']);
  ends.push(() => hosts.remove());
  const { ticking, cut, other } = hosts.of;
  run(ticking, TICKS);
  const [first, second] = [cut, other].map((host) => listen(host, ticking.address)) as [
    ReturnType<typeof listen>,
    ReturnType<typeof listen>,
  ];
  const more = (from: { readonly text: () => string }, count = 20) => {
    const before = from.text().length;
    return until(() => from.text().length >= before + count, `${count} more`);
  };
  await Promise.all([more(first), more(second)]);
  await hosts.partition(ticking, cut);
  // what was on its way arrives
  await more(second);
  const received = first.text().length;
  await more(second, 60);
  expect(first.text().length - received).toBeLessThan(30);
  await hosts.healAll();
  await more(first);
  expect(first.text()).toMatch(/^\.+$/);
});
