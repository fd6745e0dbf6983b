import { once } from 'node:events';
import { createServer } from 'node:net';

/** The range lies below the ports that systems use for outgoing connections and for port 0. */
const LOWEST = 15_000;
const HIGHEST = 32_000;

/**
 * A free port that other programs are unlikely to get, for servers that are killed and restarted on
 * the same port.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    const server = createServer();
    const listening = once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.listen(port, '127.0.0.1');
    if (!(await listening)) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
