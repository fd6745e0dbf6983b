/**
 * Clients that are disconnected under load: after a short time the client library resumes, after a
 * long time it starts again.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type LiveUpdate, type SnoClient } from '../../src/client/index.ts';
import { TcpProxy } from '../oracle/proxy.ts';
import { until } from '../support/wait.ts';
import { expectStarting, type Stage, stage, whileStarting } from './stage.ts';

const SCHEMA = `
  create table ledger (entry int primary key, room int not null);
  create schema channels;
  create view channels."ledger:{room}" as select entry, room from ledger;
  alter table ledger replica identity full;
`;

let here: Stage;
let proxy: TcpProxy;
const clients: SnoClient[] = [];

beforeAll(async () => {
  here = await stage(SCHEMA, { SNO_REPLAY_SECONDS: '3' });
  proxy = await TcpProxy.listen(() => here.service.port);
});

afterAll(async () => {
  for (const client of clients) await client.close();
  await proxy.close();
  await here.end();
});

class Trusting extends WebSocket {
  constructor(address: string) {
    super(address, { ca: here.service.certificate.cert });
  }
}

test('while the service starts, its port serves the client library and answers 503 with Retry-After; clients connect later', async () => {
  await whileStarting(here, async () => {
    await expectStarting(here.service);
    const client = connect(here.service.url, { WebSocket: Trusting, backoff: { baseMs: 20, capMs: 100 } });
    clients.push(client);
    await until(() => client.error, 'it has been told to come back');
    expect(client.error?.message).toMatch(/503.*starting/);
  });
  const view = clients[0]?.live('ledger:9');
  await view?.ready;
  expect(view?.status).toBe('live');
});

test('a client that was away for less than the replay window resumes; after a longer time it is reset and reads the rows again', async () => {
  const client = connect(`wss://localhost:${proxy.port}/v1`, {
    WebSocket: Trusting,
    backoff: { baseMs: 20, capMs: 100 },
  });
  const view = client.live<{ entry: number }>('ledger:0');
  const updates: LiveUpdate<unknown>['reason'][] = [];
  view.subscribe(({ reason }) => reason === 'status' || updates.push(reason));
  await view.ready;
  updates.length = 0;
  let isOver = false;
  let entry = 0;
  const writing = (async () => {
    while (!isOver) await here.query('insert into ledger values ($1, 0)', [++entry]);
  })();
  /**
   * Cuts the client off until `condition` holds. Resolves when the view shows everything written
   * until then.
   */
  async function away(condition: () => Promise<unknown>): Promise<void> {
    proxy.isDown = true;
    for (const link of proxy.links) link.cut();
    await until(() => view.status === 'stale', 'it is away');
    await condition();
    const written = entry;
    proxy.isDown = false;
    await until(() => view.status === 'live' && view.get(written) !== undefined, 'it is back');
  }
  try {
    const before = entry;
    await away(() => until(() => entry > before + 20, 'others have written'));
    expect(new Set(updates)).toEqual(new Set(['commit']));
    const raw = await here.client();
    await away(() => {
      // the position where the view stopped
      const { position } = view;
      return until(async () => {
        const answer = await raw.subscribe('ledger:0', { since: position as string });
        if (answer.type === 'reset') return true;
        raw.send({ type: 'unsubscribe', channel: 'ledger:0' });
        await raw.wait('left', raw.frames.indexOf(answer), ({ type }) => type === 'unsubscribed');
        return false;
      }, 'its position is too old');
    });
    expect(updates).toContain('snapshot');
  } finally {
    isOver = true;
    await writing;
  }
  await until(() => view.size === entry, 'every row is there');
  expect(view.rows.map((row) => row.entry).sort((a, b) => a - b)).toEqual(
    Array.from({ length: entry }, (_, i) => i + 1),
  );
  await client.close();
});
