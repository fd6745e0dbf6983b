/**
 * A process with few file descriptors refuses clients before it lacks a descriptor for anything
 * else.
 */
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/wait.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key);
  alter table notes replica identity full;
  create schema channels;
  create view channels."notes" as select id from notes;
  create view channels."copies" as select id from notes;
`;
const OPEN_FILES = 256;
/**
 * Clients that connect at once, more than the limit: with workers each passes through the first
 * process.
 */
const CROWD = 700;
/** Part of the 100 descriptors that the admin port takes. */
const IDLE_PROBES = 60;

/** The status of a request over a connection of its own; else what went wrong. */
function ask(port: number, path: string): Promise<number | string> {
  return new Promise((resolve) => {
    request({ port, path, host: '127.0.0.1', agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode as number);
    })
      .on('error', (error) => resolve(error.message))
      .end();
  });
}

/** Open sockets that send nothing. */
class Crowd {
  readonly #sockets: Socket[] = [];
  closed = 0;

  come(count: number, port: number): void {
    for (let left = count; left > 0; left--) {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.on('error', () => undefined);
      socket.on('close', () => this.closed++);
      this.#sockets.push(socket);
    }
  }

  go(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe.each([0, 2])('with %i workers', (workers) => {
  let here: Stage;
  beforeAll(async () => {
    const settings = { SNO_WORKERS: String(workers), SNO_HANDSHAKE_SECONDS: '300' };
    here = await stage(SCHEMA, settings, undefined, { openFiles: OPEN_FILES });
  });
  afterAll(() => here.end());

  test('refuses clients beyond its descriptors, while probes, connected clients and snapshots go on', async () => {
    const { port, adminPort } = here.service;
    const client = await here.client('notes');
    const answers: (number | string)[] = [];
    let isOver = false;
    const probing = (async () => {
      for (; !isOver; await delay(20))
        answers.push(
          await ask(adminPort, '/healthz'),
          await ask(adminPort, '/readyz'),
          await ask(adminPort, '/metrics'),
        );
    })();
    const [crowd, probes] = [new Crowd(), new Crowd()];
    probes.come(IDLE_PROBES, adminPort);
    crowd.come(CROWD, port);
    const arrived = async () => crowd.closed + (await here.metric('sno_pending_connections')) === CROWD;
    await until(arrived, 'all are let in or refused');
    expect(crowd.closed).toBeGreaterThan(0);
    expect(crowd.closed).toBeLessThan(CROWD);
    await until(
      async () => (await here.metric('sno_limits_met_total{limit="open_files"}')) === crowd.closed,
      'all are counted',
    );
    const seen = answers.length;
    await here.query('insert into notes values (1)');
    await client.until('the commit', () => client.events('notes').length === 1);
    await client.subscribe('copies', { snapshot: true });
    await client.until('the snapshot', () => client.of('copies', 'snapshot').length > 0);
    await until(() => answers.length > seen + 3, 'more answers');
    await here.service.logged({ limit: 'open_files' });
    expect(here.service.log.filter(({ msg }) => msg === 'a connection could not be accepted')).toEqual([]);
    crowd.go();
    probes.go();
    const next = await until(() => here.client('notes'), 'a client is let in');
    await here.query('insert into notes values (2)');
    await next.until('the commit', () => next.events('notes').length === 1);
    isOver = true;
    await probing;
    expect(new Set(answers)).toEqual(new Set([200]));
    expect(here.service.log.filter(({ openFiles }) => openFiles === OPEN_FILES)).toMatchObject(
      Array.from({ length: workers || 1 }, () => ({ level: 'warn', hint: expect.stringContaining('LimitNOFILE') })),
    );
  });
});
