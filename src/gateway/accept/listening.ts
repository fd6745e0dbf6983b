/** Listens on the client port, in the gateway's process or in main. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { SnoError } from '../../errors.ts';
import type { Logger } from '../../logger.ts';

const HINT = 'Raise the limit of open files (LimitNOFILE), or lower SNO_MAX_CONNECTIONS.';

/** Maximum connections that the kernel queues until they are accepted. */
const BACKLOG = 4_096;

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly logger: Logger;
}

/** Listens, and returns the address. Throws `address_in_use`. Logs later errors of the server. */
export async function listenOn(server: Server, { host, port, logger }: ListenOptions): Promise<AddressInfo> {
  server.listen({ host, port, backlog: BACKLOG });
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new SnoError('address_in_use', `${host}:${port} is already in use`, { cause: error });
  }
  // For example when no file descriptor is left because something other than clients took them.
  server.on('error', (error) =>
    logger.error({ error: error.message, hint: HINT }, 'a connection could not be accepted'),
  );
  return server.address() as AddressInfo;
}
