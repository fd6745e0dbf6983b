/** A service with a worker sends metrics to StatsD, and metrics and spans to OpenTelemetry. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../support/wait.ts';
import { Collector, StatsdReceiver } from '../telemetry/receivers.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const SCHEMA = `
  create table posts (id int primary key, room int not null);
  alter table posts replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room from posts;
`;

let statsd: StatsdReceiver;
let collector: Collector;
let here: Stage;

beforeAll(async () => {
  statsd = await StatsdReceiver.start();
  collector = await Collector.start();
  here = await stage(SCHEMA, {
    SNO_WORKERS: '1',
    SNO_STATSD_URL: statsd.url,
    SNO_STATSD_SECONDS: '1',
    SNO_OTLP_URL: collector.url,
    SNO_OTLP_SECONDS: '1',
  });
});
afterAll(async () => {
  await here.end();
  statsd.close();
  await collector.close();
});

test('all processes are added up, and a traced commit has one span, through the worker that sends it', async () => {
  const client = await here.client('end', 'room:1');
  const frames = await changesOf(here, client, async () => {
    await here.query('insert into posts values (1, 1)');
    await here.query(`select sno.trace('${TRACE}'); insert into posts values (2, 1)`);
  });
  expect(frames.map(({ trace }) => trace)).toEqual([undefined, TRACE]);
  await until(
    () => statsd.lines.some((line) => /^sno\.deliveries_total:\d+\|c/.test(line)),
    'deliveries of the worker',
  );
  await until(() => statsd.lines.includes('sno.connections:1|g'), 'its connection');
  await until(() => collector.metrics.get('sno_connections')?.gauge?.dataPoints[0]?.asDouble === 1, 'the same by OTLP');
  // Spans wait for others. A stop sends them.
  expect(await here.service.terminate()).toBe(0);
  await until(() => collector.spans.length > 0, 'the span');
  expect(collector.spans).toMatchObject([
    { name: 'sno commit', traceId: TRACE.split('-')[1], parentSpanId: TRACE.split('-')[2] },
  ]);
});
