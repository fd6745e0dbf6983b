/** Clients that LISTEN. Arguments: the database, how many, and how many notifications each is to get; prints their ages then. */
import pg from 'pg';
import { ageAt } from './event-reader.ts';

const [url, clients, wanted] = process.argv.slice(2) as [string, string, string];
const START = '{"stamp" : "'.length;
const ages: number[] = [];

async function listen(): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  client.on('notification', ({ payload = '' }) => {
    ages.push(ageAt(Buffer.from(payload), START) ?? Number.NaN);
    if (ages.length < Number(clients) * Number(wanted)) return;
    const sorted = ages.sort((a, b) => a - b);
    const [p50, p99] = [0.5, 0.99].map((part) => sorted[Math.floor(sorted.length * part)]);
    process.stdout.write(`${JSON.stringify({ p50, p99 })}\n`);
  });
  await client.query('listen notes');
}

await Promise.all(Array.from({ length: Number(clients) }, listen));
process.stdout.write('ready\n');
process.stdin.resume().on('end', () => process.exit(0));
