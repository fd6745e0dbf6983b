/**
 * Reads a slot by pg-logical-replication with its own plugin, as its users do, in a process of its
 * own. Arguments: connection string, slot, publication, number of rows. Prints the seconds from
 * START_REPLICATION to the last row, and the seconds of processor time in between.
 */
import { LogicalReplicationService, type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';

const [connectionString = '', slot = '', publication = '', rows = ''] = process.argv.slice(2);
const MICROSECONDS = 1e6;

// It acknowledges every ten seconds. By default it also sends a packet for each message, which is
// slower.
const service = new LogicalReplicationService(
  { connectionString },
  { acknowledge: { auto: false, timeoutSeconds: 10 } },
);
let began = { at: 0, cpu: process.cpuUsage() };
let missing = Number(rows);

service.on('start', () => {
  began = { at: performance.now(), cpu: process.cpuUsage() };
});
service.on('data', (_lsn, message: Pgoutput.Message) => {
  if (message.tag !== 'insert' || --missing > 0) return;
  const { user, system } = process.cpuUsage(began.cpu);
  const seconds = (performance.now() - began.at) / 1_000;
  process.stdout.write(`${JSON.stringify({ seconds, cpu: (user + system) / MICROSECONDS })}\n`);
  void service.destroy();
});
service.on('error', (error) => {
  throw error;
});
await service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), slot);
