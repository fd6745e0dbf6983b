/**
 * The admin port, for the operator: metrics, probes, the dashboard and its API. It listens on
 * loopback, unless a token identifies the operator.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import { ADMIN_CONNECTIONS_MAX } from '../config/connections.ts';
import { isLoopback } from '../config/loopback.ts';
import { SnoError } from '../errors.ts';
import { hostName, isLoopbackName } from '../http/host.ts';
import { createHttp, type Http } from '../http/http.ts';
import type { ProblemCode } from '../http/problem.ts';
import { serveFile } from '../http/static-file.ts';
import type { Certificate } from '../http/tls.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { API_BODY_BYTES_MAX, registerApi } from './api/routes.ts';
import type { AdminSource } from './api/source.ts';
import { readPage } from './page-files.ts';

export interface AdminOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /**
   * The token that all requests must carry, except a supervisor's probes. Undefined: requests must
   * be for this machine.
   */
  readonly token: string | undefined;
  /** Used beyond loopback. Undefined: plain HTTP. */
  readonly certificate: Certificate | undefined;
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>;
  /**
   * Why this process should receive no clients now (starting, catching up, draining). Undefined: it
   * is ready.
   */
  readonly unready: () => string | undefined;
  /** What the API shows. Undefined: there is no API, and no dashboard. */
  readonly source?: AdminSource;
  /** The folder of the dashboard's page. */
  readonly pageFolder?: string;
  readonly logger?: Pick<Logger, 'error'>;
}

const HEADER_BYTES_MAX = 16_384;
/** Paths of probes, which carry no token. They answer with one word. */
const PROBES: readonly string[] = ['/healthz', '/readyz'];

export class Admin {
  readonly #options: AdminOptions;
  readonly #http: Http;
  readonly #certificate: Certificate | undefined;
  /** Paths that are answered without a token. */
  readonly #openPaths = new Set(PROBES);

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#certificate = isLoopback(options.host) ? undefined : options.certificate;
    this.#http = createHttp({
      tls: this.#certificate?.options,
      headerBytesMax: HEADER_BYTES_MAX,
      bodyBytesMax: API_BODY_BYTES_MAX,
      onProblem: () => {},
    });
    const { app, refuse } = this.#http;
    app.addHook('onRequest', async ({ url, headers }, reply) => {
      const problem = this.#problemOf(url, headers.host, headers.authorization);
      return problem === undefined ? undefined : refuse(reply, problem);
    });
    app.get('/metrics', async (_request, reply) =>
      reply.type(options.metrics.contentType).send(await options.metrics.text()),
    );
    app.get('/healthz', async () => ({ status: 'alive' }));
    app.get('/readyz', async (_request, reply) => {
      const reason = options.unready();
      return reason === undefined ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', reason });
    });
    const { source, logger = { error: () => undefined }, token } = options;
    if (source !== undefined)
      registerApi(this.#http, { source, logger, authorization: token === undefined ? 'loopback' : 'token' });
  }

  /** Listens. Throws `address_in_use`. */
  async start(): Promise<AddressInfo> {
    const { host, port, pageFolder } = this.#options;
    const { app } = this.#http;
    for (const file of pageFolder === undefined ? [] : await readPage(pageFolder)) {
      serveFile(app, file);
      this.#openPaths.add(file.path);
    }
    await app.ready();
    // Not fastify's own listen, which opens a second server for `localhost`.
    app.server.maxConnections = ADMIN_CONNECTIONS_MAX;
    app.server.listen({ host, port });
    try {
      await once(app.server, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      throw new SnoError('address_in_use', `${host}:${port} (SNO_ADMIN_PORT) is already in use`, { cause: error });
    }
    this.#certificate?.serve(app.server as unknown as TlsServer);
    return app.server.address() as AddressInfo;
  }

  async close(): Promise<void> {
    const { app } = this.#http;
    if (app.server.listening) {
      const closed = once(app.server, 'close');
      app.server.close();
      app.server.closeAllConnections();
      await closed;
    }
    await app.close();
  }

  #problemOf(url: string, host: string | undefined, authorization: string | undefined): ProblemCode | undefined {
    const { token } = this.#options;
    if (token !== undefined) {
      const isOpen = this.#openPaths.has(url.split('?', 1)[0] as string);
      return isOpen || isBearer(authorization, token) ? undefined : 'admin_token_required';
    }
    // DNS rebinding: an attacker's name may resolve to loopback, and the browser would take the
    // answer as the attacker's site.
    return isLoopbackName(hostName(host) ?? '') ? undefined : 'admin_host_refused';
  }
}

/** Compares digests in constant time, so that the time does not show how much of it is right. */
function isBearer(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+)\s*$/i.exec(authorization ?? '')?.[1] ?? '';
  const [a, b] = [given, token].map((text) => createHash('sha256').update(text).digest()) as [Buffer, Buffer];
  return timingSafeEqual(a, b);
}
