/**
 * The service: picks how the roles are joined, starts them, and stops them in the opposite order.
 */
import { fileURLToPath } from 'node:url';
import { accessWarnings } from './access/token.ts';
import { ADMIN_CONNECTIONS_MAX, Admin } from './admin/admin.ts';
import { loadParser } from './channels/sql/parse.ts';
import { databaseUrl, secretValues } from './config/derived.ts';
import type { SettingSources } from './config/read.ts';
import type { Settings } from './config/settings.ts';
import { Certificate } from './http/tls.ts';
import type { Logger } from './logger.ts';
import { Incidents } from './metrics/incidents.ts';
import { createMetrics } from './metrics/metrics.ts';
import { VERSION } from './metrics/version.ts';
import { createPool } from './postgres/connect.ts';
import { hideSecrets } from './redaction.ts';
import type { Composition } from './roles/composition.ts';
import { STREAM_CONNECTIONS } from './roles/ingest.ts';
import type { IngestOptions } from './roles/ingest-options.ts';
import { Inspector } from './roles/inspect/inspector.ts';
import { RunningParts } from './roles/inspect/view.ts';
import { OneMachine } from './roles/one-machine.ts';
import { type CommitSpans, startCommitSpans } from './telemetry/commit-spans.ts';
import { startSenders } from './telemetry/senders.ts';
import type { Sender } from './telemetry/statsd.ts';

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
type Shared = Omit<IngestOptions, 'onBug' | 'running'>;

const PAGE_FOLDER = fileURLToPath(new URL('../dist/admin/page', import.meta.url));
const CONTROL_CONNECTIONS = 4;
/** Number of files that the process may open beside those for clients. */
const OTHER_FILES_MAX = ADMIN_CONNECTIONS_MAX + CONTROL_CONNECTIONS + STREAM_CONNECTIONS;

/** What the admin API shows beside the service itself. */
export interface ServiceOrigin {
  /** Where each setting comes from. */
  readonly sources?: SettingSources;
  /** Recent faults: the logger records them there too. */
  readonly incidents?: Incidents;
}

/**
 * Starts everything and resolves once clients are served. Throws a SnoError that says what is wrong
 * and what to do.
 */
export async function startService(settings: Settings, logger: Logger, origin: ServiceOrigin = {}): Promise<Service> {
  hideSecrets(secretValues(settings));
  const service = new RunningService(settings, logger, origin);
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
  readonly #sources: SettingSources | undefined;
  readonly #incidents: Incidents;
  readonly #running = new RunningParts();
  #inspector: Inspector | undefined;
  #composition: Composition | undefined;
  #admin: Admin | undefined;
  #certificate: Certificate | undefined;
  /** Spans of commits whose clients this process serves. */
  #spans: CommitSpans | undefined;
  #senders: Sender | undefined;
  #fail: (error: unknown) => void = () => undefined;
  #state: 'starting' | 'catching up' | 'serving' | 'draining' = 'starting';

  constructor(settings: Settings, logger: Logger, { sources, incidents = new Incidents() }: ServiceOrigin) {
    this.#sources = sources;
    this.#incidents = incidents;
    this.host = settings.SNO_HOST;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    const url = databaseUrl(settings);
    const pool = createPool(url, 'query', CONTROL_CONNECTIONS);
    pool.on('error', (error) => logger.debug({ error: error.message }, 'an idle connection broke'));
    this.#shared = { settings, databaseUrl: url, logger, metrics: createMetrics(), pool };
    this.#shared.metrics.observe({
      certificateExpiry: () => (this.#certificate === undefined ? undefined : this.#certificate.expiresAt / 1_000),
    });
  }

  async start(): Promise<void> {
    const { settings, logger } = this.#shared;
    if (settings.SNO_ROLE !== 'gateway') await loadParser();
    // Invalid keys and certificates and ports in use are found before anything changes in the
    // database.
    this.#certificate = await Certificate.load(settings, logger);
    this.#spans = settings.SNO_WORKERS === 0 ? await startCommitSpans(settings, logger) : undefined;
    const composition = await this.#compose();
    this.#composition = composition;
    this.#senders = await startSenders(settings, { values: () => composition.metrics.values() }, logger);
    this.adminPort = await this.#startAdmin(composition);
    this.port = await composition.listen();
    await composition.prepare();
    this.#state = 'catching up';
    await Promise.race([composition.start(), this.failed]);
    await composition.open();
    this.#state = 'serving';
    for (const { message, hint } of accessWarnings(settings)) logger.warn({ hint }, message);
    const { host, port, adminPort } = this;
    logger.info({ host, port, adminPort, channels: composition.channelCount }, 'serving');
  }

  async stop(): Promise<void> {
    this.#state = 'draining';
    await this.#composition?.drain();
    await this.#composition?.stop();
    await Promise.all([this.#senders?.stop(), this.#spans?.stop()]);
    await this.#admin?.close();
    await this.#inspector?.stop();
    this.#certificate?.stop();
    await this.#shared.pool.end().catch(() => undefined);
  }

  async #compose(): Promise<Composition> {
    const certificate = this.#certificate;
    const options = {
      ...this.#shared,
      certificate,
      spans: this.#spans,
      otherFilesMax: OTHER_FILES_MAX,
      incidents: this.#incidents,
      running: this.#running,
      onBug: this.#fail,
    };
    if (options.settings.SNO_NATS_URL === undefined) return new OneMachine(options);
    // The client of NATS is loaded where it is needed only.
    const { ManyMachines } = await import('./roles/many-machines.ts');
    return new ManyMachines(options);
  }

  async #startAdmin(composition: Composition): Promise<number> {
    const { settings, databaseUrl: url, pool, logger } = this.#shared;
    const { SNO_ADMIN_HOST: host, SNO_ADMIN_PORT: port, SNO_ADMIN_TOKEN: token } = settings;
    const { metrics } = composition;
    const certificate = this.#certificate;
    const unready = () => this.#unready;
    this.#inspector = new Inspector({
      settings,
      sources: this.#sources,
      version: VERSION,
      databaseUrl: url,
      pool,
      incidents: this.#incidents,
      metrics,
      view: () => this.#running.view,
      unready,
      certificateExpiresAt: () => certificate?.expiresAt,
    });
    const source = this.#inspector;
    const pageFolder = PAGE_FOLDER;
    this.#admin = new Admin({ metrics, certificate, host, port, token, unready, source, pageFolder, logger });
    return (await this.#admin.start()).port;
  }

  get #unready(): string | undefined {
    if (this.#state === 'draining') return this.#state;
    const reason = this.#composition?.unready;
    if (this.#state === 'serving') return reason;
    return reason === undefined || this.#shared.settings.SNO_NATS_URL === undefined
      ? this.#state
      : `${this.#state}: ${reason}`;
  }
}
