/** A machine that only reads the WAL, before any gateway runs. */
import { afterAll, beforeAll, test } from 'vitest';
import { type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { until } from '../support/wait.ts';

let nats: NatsServer;
let here: Stage;

beforeAll(async () => {
  nats = await startNats();
  here = await stage('create schema channels;', { SNO_NATS_URL: nats.url, SNO_ROLE: 'ingest' });
});
afterAll(async () => {
  await here?.end();
  await nats?.remove();
});

test('it makes the stream, and reads the WAL', async () => {
  await until(async () => (await here.metric('sno_ingesting')) === 1, 'it reads the WAL');
});
