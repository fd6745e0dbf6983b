/**
 * Clients that LISTEN. Arguments: the database, the number of clients, the number of warm-up
 * notifications for each client, and the number of measured ones. Prints the ages of the measured
 * ones.
 */
import pg from 'pg';
import { ageAt } from './event-reader.ts';

const [url, clients, uncounted, wanted] = process.argv.slice(2) as [string, string, string, string];
const START = '{"stamp" : "'.length;
let ages: number[] = [];
let isWarm = false;

async function listen(): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  client.on('notification', ({ payload = '' }) => {
    ages.push(ageAt(Buffer.from(payload), START) ?? Number.NaN);
    if (ages.length < Number(clients) * Number(isWarm ? wanted : uncounted)) return;
    if (!isWarm) {
      isWarm = true;
      ages = [];
      process.stdout.write('warm\n');
      return;
    }
    const sorted = ages.sort((a, b) => a - b);
    const [p50, p99] = [0.5, 0.99].map((part) => sorted[Math.floor(sorted.length * part)]);
    process.stdout.write(`${JSON.stringify({ p50, p99 })}\n`);
  });
  await client.query('listen notes');
}

await Promise.all(Array.from({ length: Number(clients) }, listen));
process.stdout.write('ready\n');
process.stdin.resume().on('end', () => process.exit(0));
