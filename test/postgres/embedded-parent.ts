/** A process that starts a server, says where on its standard output, and stays until it is ended from outside. */
import { ownServer } from '../support/own-server.ts';

const { pid, dataDirectory } = await ownServer();
process.stdout.write(`${JSON.stringify({ pid, dataDirectory })}\n`);
process.stdin.once('data', () => {
  throw new Error('as told');
});
