/** The admin port: for the operator, on loopback only. */
import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { SnoError } from '../errors.ts';
import type { Metrics } from '../metrics.ts';

const LOOPBACK = '127.0.0.1';

export interface AdminOptions {
  /** 0 takes any free port. */
  readonly port: number;
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>;
  /** Why this process should get no clients now (starting, catching up, draining); undefined: it is ready. */
  readonly unready: () => string | undefined;
}

export class Admin {
  readonly #options: AdminOptions;
  readonly #app: FastifyInstance;

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#app = fastify();
    this.#app.get('/metrics', async (_request, reply) =>
      reply.type(options.metrics.contentType).send(await options.metrics.text()),
    );
    this.#app.get('/healthz', async () => ({ status: 'alive' }));
    this.#app.get('/readyz', async (_request, reply) => {
      const reason = options.unready();
      return reason === undefined ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', reason });
    });
  }

  /** Listens; throws `address_in_use`. */
  async start(): Promise<AddressInfo> {
    try {
      await this.#app.listen({ host: LOOPBACK, port: this.#options.port });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      throw new SnoError('address_in_use', `${LOOPBACK}:${this.#options.port} (SNO_ADMIN_PORT) is taken`, {
        cause: error,
      });
    }
    return this.#app.server.address() as AddressInfo;
  }

  close(): Promise<void> {
    return this.#app.close();
  }
}
