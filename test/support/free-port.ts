import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those that systems give to outgoing connections and to whoever asks for any port. */
const LOWEST = 15_000;
const HIGHEST = 32_000;

/** A port that is free and that nobody is likely to be given: for what must come back on the same port after it was killed. */
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
