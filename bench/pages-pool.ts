/**
 * The queries of pages without Snö, in a separate process: a pool that runs a prepared SELECT for
 * each page. Takes one JSON argument. At the line `open` on stdin, it opens all pages and prints
 * the seconds that they took.
 */
import { createInterface } from 'node:readline';
import pg from 'pg';

const { url, pages, rows, connections } = JSON.parse(process.argv[2] ?? '') as {
  readonly url: string;
  readonly pages: number;
  readonly rows: number;
  readonly connections: number;
};
const text = 'select * from channels."page:{page}" where page = $1';
const pool = new pg.Pool({ connectionString: url, max: connections });

async function openOne(page: number): Promise<void> {
  const found = await pool.query({ name: 'page', text, values: [page] });
  if (found.rows.length !== rows) throw new Error(`page ${page} has ${found.rows.length} rows`);
}

async function openAll(): Promise<void> {
  const before = performance.now();
  await Promise.all(Array.from({ length: pages }, (_, index) => openOne(index + 1)));
  process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - before) / 1_000 })}\n`);
}

await openOne(1);
process.stdout.write('{"ready":true}\n');
createInterface({ input: process.stdin }).on('line', () => void openAll());
// the parent process has ended
process.stdin.on('end', () => process.exit(0));
