/**
 * The service: picks the roles, starts them from left to right, and stops them in the opposite
 * order.
 *
 *     ingest (reads the WAL) -> gateways (serve clients): in this process, or SNO_WORKERS processes
 */
import { accessWarnings } from './access/token.ts';
import { ADMIN_CONNECTIONS_MAX, Admin } from './admin/admin.ts';
import { loadParser } from './channels/sql/parse.ts';
import { databaseUrl } from './config/derived.ts';
import type { Settings } from './config/settings.ts';
import { Certificate } from './http/tls.ts';
import type { Logger } from './logger.ts';
import { createMetrics } from './metrics.ts';
import { createPool } from './postgres/connect.ts';
import { GatewayRole } from './roles/gateway.ts';
import type { Gateways } from './roles/gateways.ts';
import { type IngestOptions, IngestRole, STREAM_CONNECTIONS } from './roles/ingest.ts';
import { WorkerPool } from './workers/pool.ts';

export interface Service {
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** Rejects when the service cannot continue. Never resolves. */
  readonly failed: Promise<never>;
  /**
   * Reports not ready, disconnects the clients over SNO_DRAIN_SECONDS or less, then stops
   * everything.
   */
  stop(): Promise<void>;
}

/** What all roles of a process share. */
type Shared = Omit<IngestOptions, 'onBug'>;

const CONTROL_CONNECTIONS = 4;
/** Number of files that the process may open beside those for clients. */
const OTHER_FILES_MAX = ADMIN_CONNECTIONS_MAX + CONTROL_CONNECTIONS + STREAM_CONNECTIONS;

/**
 * Starts everything and resolves once clients are served. Throws a SnoError that says what is wrong
 * and what to do.
 */
export async function startService(settings: Settings, logger: Logger): Promise<Service> {
  const service = new RunningService(settings, logger);
  try {
    await service.start();
  } catch (error) {
    await service.stop();
    throw error;
  }
  return service;
}

class RunningService implements Service {
  readonly failed: Promise<never>;
  readonly host: string;
  port = 0;
  adminPort = 0;
  readonly #shared: Shared;
  readonly #ingest: IngestRole;
  #gateways: Gateways | undefined;
  #admin: Admin | undefined;
  #certificate: Certificate | undefined;
  #fail: (error: unknown) => void = () => undefined;
  #state: 'starting' | 'catching up' | 'serving' | 'draining' = 'starting';

  constructor(settings: Settings, logger: Logger) {
    this.host = settings.SNO_HOST;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    const url = databaseUrl(settings);
    const pool = createPool(url, 'query', CONTROL_CONNECTIONS);
    pool.on('error', (error) => logger.debug({ error: error.message }, 'an idle connection broke'));
    this.#shared = { settings, databaseUrl: url, logger, metrics: createMetrics(), pool };
    this.#ingest = new IngestRole({ ...this.#shared, onBug: this.#fail });
    this.#shared.metrics.observe({
      certificateExpiry: () => (this.#certificate === undefined ? undefined : this.#certificate.expiresAt / 1_000),
    });
  }

  async start(): Promise<void> {
    const { settings, logger } = this.#shared;
    await loadParser();
    // Invalid keys and certificates and ports in use are found before anything changes in the
    // database.
    this.#certificate = await Certificate.load(settings, logger);
    const gateways = settings.SNO_WORKERS === 0 ? this.#gatewayHere() : this.#gatewaysInWorkers();
    this.#gateways = gateways;
    this.#ingest.tell(gateways);
    this.adminPort = await this.#startAdmin(gateways);
    this.port = await gateways.listen();
    await this.#ingest.prepare();
    this.#state = 'catching up';
    await Promise.race([this.#ingest.start(), this.failed]);
    await gateways.open();
    this.#state = 'serving';
    for (const { message, hint } of accessWarnings(settings)) logger.warn({ hint }, message);
    const { host, port, adminPort } = this;
    logger.info({ host, port, adminPort, channels: this.#ingest.channelCount }, 'serving');
  }

  async stop(): Promise<void> {
    this.#state = 'draining';
    await this.#gateways?.drain();
    await this.#ingest.stop();
    await this.#admin?.close();
    this.#certificate?.stop();
    await this.#gateways?.stop();
    await this.#shared.pool.end().catch(() => undefined);
  }

  #gatewayHere(): Gateways {
    const { journal, head } = this.#ingest;
    const clientsMax = this.#shared.settings.SNO_MAX_CONNECTIONS;
    const certificate = this.#certificate;
    return new GatewayRole({ ...this.#shared, journal, head, certificate, clientsMax, otherFilesMax: OTHER_FILES_MAX });
  }

  #gatewaysInWorkers(): Gateways {
    return new WorkerPool({
      ...this.#shared,
      source: this.#ingest,
      certificate: this.#certificate,
      otherFilesMax: OTHER_FILES_MAX,
      hold: () => this.#ingest.hold('workers'),
      release: () => this.#ingest.release('workers'),
      onBug: this.#fail,
    });
  }

  async #startAdmin({ metrics }: Gateways): Promise<number> {
    const { SNO_ADMIN_HOST: host, SNO_ADMIN_PORT: port, SNO_ADMIN_TOKEN: token } = this.#shared.settings;
    const unready = () => this.#unready;
    this.#admin = new Admin({ metrics, certificate: this.#certificate, host, port, token, unready });
    return (await this.#admin.start()).port;
  }

  get #unready(): string | undefined {
    if (this.#state !== 'serving') return this.#state;
    return this.#ingest.unready ?? this.#gateways?.unready;
  }
}
