/**
 * A process that starts a server, from the build, says where on its standard output, and stays
 * until it is ended from outside.
 */
import { startPostgres } from '../../dist/postgres/embedded.js';

const { pid, dataDirectory } = await startPostgres();
process.stdout.write(`${JSON.stringify({ pid, dataDirectory })}\n`);
process.stdin.once('data', () => {
  throw new Error('as told');
});
