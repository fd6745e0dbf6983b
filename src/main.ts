/** The service: picks how the roles are joined, starts them, and stops them in reverse order. */

import { accessWarnings } from './access/token.ts';
import { loadParser } from './channels/sql/parse.ts';
import { ADMIN_CONNECTIONS_MAX, MAIN_QUERY_CONNECTIONS, STREAM_CONNECTIONS } from './config/connections.ts';
import { databaseUrl, secretValues } from './config/derived.ts';
import type { SettingSources } from './config/read.ts';
import type { Settings } from './config/settings.ts';
import { Certificate } from './http/tls.ts';
import type { Logger } from './logger.ts';
import { Incidents } from './metrics/incidents.ts';
import { createMetrics } from './metrics/metrics.ts';
import { createLoggedPool } from './postgres/connect.ts';
import { hideSecrets } from './redaction.ts';
import { AdminPort } from './roles/admin-port.ts';
import type { Composition, CompositionOptions } from './roles/composition.ts';
import { RunningParts } from './roles/inspect/view.ts';
import { OneMachine } from './roles/one-machine.ts';
import { type CommitSpans, startCommitSpans } from './telemetry/commit-spans.ts';
import { startSenders } from './telemetry/senders.ts';
import type { Sender } from './telemetry/statsd.ts';
import type { Unready } from './unready.ts';

export interface Service {
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** Rejects when the service cannot continue. Never resolves. */
  readonly failed: Promise<never>;
  /** Reports not ready, disconnects clients over SNO_DRAIN_SECONDS at most, then stops the rest. */
  stop(): Promise<void>;
}

/** What all roles of a process share. */
type Shared = Omit<CompositionOptions, 'certificate' | 'spans' | 'otherFilesMax' | 'onBug'>;

/** Number of files that the process may open beside those for clients. */
const OTHER_FILES_MAX = ADMIN_CONNECTIONS_MAX + MAIN_QUERY_CONNECTIONS + STREAM_CONNECTIONS;

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
  #composition: Composition | undefined;
  #admin: AdminPort | undefined;
  #certificate: Certificate | undefined;
  /** Spans of commits whose clients this process serves. */
  #spans: CommitSpans | undefined;
  #senders: Sender | undefined;
  #fail: (error: unknown) => void = () => undefined;
  #state: 'starting' | 'catching up' | 'serving' | 'draining' = 'starting';

  constructor(settings: Settings, logger: Logger, { sources, incidents = new Incidents() }: ServiceOrigin) {
    this.#sources = sources;
    this.host = settings.SNO_HOST;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    const url = databaseUrl(settings);
    const pool = createLoggedPool(url, 'query', MAIN_QUERY_CONNECTIONS, { logger });
    const running = new RunningParts();
    this.#shared = { settings, databaseUrl: url, logger, metrics: createMetrics(), pool, incidents, running };
    this.#shared.metrics.observe({
      certificateExpiry: () => (this.#certificate === undefined ? undefined : this.#certificate.expiresAt / 1_000),
    });
  }

  async start(): Promise<void> {
    const { settings, logger } = this.#shared;
    if (settings.SNO_ROLE !== 'gateway') await loadParser();
    // Invalid keys and certificates and ports in use are found before anything changes in the
    // database.
    const certificate = await Certificate.load(settings, logger);
    this.#certificate = certificate;
    this.#spans = settings.SNO_WORKERS === 0 ? await startCommitSpans(settings, logger) : undefined;
    const options = { ...this.#shared, certificate, spans: this.#spans };
    const composition = await compose({ ...options, otherFilesMax: OTHER_FILES_MAX, onBug: this.#fail });
    this.#composition = composition;
    const { metrics } = composition;
    this.#senders = await startSenders(settings, { values: () => metrics.values() }, logger);
    this.#admin = new AdminPort({ ...options, metrics, sources: this.#sources, unready: () => this.#unready });
    this.adminPort = await this.#admin.listen();
    this.port = await composition.listen();
    await composition.prepare();
    this.#state = 'catching up';
    await Promise.race([composition.start(), this.failed]);
    await composition.open();
    this.#state = 'serving';
    for (const { code, message, hint } of accessWarnings(settings)) logger.warn({ code, hint }, message);
    const { host, port, adminPort } = this;
    logger.info({ host, port, adminPort, channels: composition.channelCount }, 'serving');
  }

  async stop(): Promise<void> {
    this.#state = 'draining';
    await this.#composition?.drain();
    await this.#composition?.stop();
    await Promise.all([this.#senders?.stop(), this.#spans?.stop()]);
    await this.#admin?.stop();
    this.#certificate?.stop();
    await this.#shared.pool.end().catch(() => undefined);
  }

  get #unready(): Unready | undefined {
    const state = this.#state;
    if (state === 'draining') return { why: state, text: state };
    const reason = this.#composition?.unready;
    if (state === 'serving') return reason;
    return reason === undefined || this.#shared.settings.SNO_NATS_URL === undefined
      ? { why: 'starting', text: state }
      : { ...reason, text: `${state}: ${reason.text}` };
  }
}

/** Joins the roles on one machine, or on several. */
async function compose(options: CompositionOptions): Promise<Composition> {
  if (options.settings.SNO_NATS_URL === undefined) return new OneMachine(options);
  // The NATS client is loaded only if NATS is used.
  const { ManyMachines } = await import('./roles/many-machines.ts');
  return new ManyMachines(options);
}
