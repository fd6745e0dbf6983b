/**
 * A worker: a process that owns client sockets. It runs a gateway, and follows the stream that main
 * reads. It ends when main ends.
 */
import cluster from 'node:cluster';
import type { Socket } from 'node:net';
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import { WORKER_QUERY_CONNECTIONS } from '../config/connections.ts';
import { databaseUrl, secretValues } from '../config/derived.ts';
import type { Settings } from '../config/settings.ts';
import { assert, SnoError } from '../errors.ts';
import type { AdmissionDesk, Excess } from '../gateway/accept/admission.ts';
import { Certificate } from '../http/tls.ts';
import type { Relay } from '../jetstream/connection.ts';
import { StreamHistory } from '../jetstream/history.ts';
import { relayOptions } from '../jetstream/relay-options.ts';
import { MemoryJournal } from '../journal/memory.ts';
import { createLogger, type Logger } from '../logger.ts';
import { boundGarbage } from '../memory/garbage.ts';
import { Incidents } from '../metrics/incidents.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import { PeerSwitch } from '../peers/peer-switch.ts';
import { createLoggedPool } from '../postgres/connect.ts';
import { hideSecrets } from '../redaction.ts';
import type { Beginning } from '../relay/follower.ts';
import { MessageJoiner } from '../relay/format.ts';
import { Installation, readInstallation } from '../relay/installation.ts';
import { type HeadState, Replica } from '../relay/replica.ts';
import { readSteps, type StepReceiver } from '../relay/step-reader.ts';
import { GatewayRole } from '../roles/gateway.ts';
import { steadyNow } from '../steady-clock.ts';
import { type CommitSpans, startCommitSpans } from '../telemetry/commit-spans.ts';
import type { FromWorker, ToWorker } from './wire.ts';

function tell(message: FromWorker): void {
  // Once main has ended, the message is lost, and this process ends too.
  process.send?.(message, undefined, undefined, () => undefined);
}

/** Asks main to admit a connection: main counts the connections of all workers. */
class RemoteDesk implements AdmissionDesk {
  readonly #waiting = new Map<number, (excess: Excess | undefined) => void>();
  #asked = 0;

  enter(address: string): Promise<Excess | undefined> {
    const id = ++this.#asked;
    tell({ kind: 'enter', id, address });
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  leave(address: string): void {
    tell({ kind: 'leave', address });
  }

  answered(id: number, excess: Excess | undefined): void {
    this.#waiting.get(id)?.(excess);
    this.#waiting.delete(id);
  }
}

class Worker implements StepReceiver {
  readonly #logger: Logger;
  readonly #metrics: Metrics = createMetrics();
  readonly #replica = new Replica();
  readonly #desk: RemoteDesk;
  readonly #certificate: Certificate | undefined;
  readonly #spans: CommitSpans | undefined;
  readonly #gateway: GatewayRole;
  /** For each channel with a subscription: the number of the `retain` message sent to main. */
  readonly #retained = new Map<string, number>();
  /** Whether another machine may read the WAL. */
  readonly #isFar: boolean;
  #retainsSent = 0;
  #retainsReceived = 0;
  readonly #joiner = new MessageJoiner();
  readonly #peers = new PeerSwitch();
  /** The port to the other processes, through main. */
  readonly #main = this.#peers.attach((message) => tell({ kind: 'peers', message }));

  constructor(
    { settings, clientsMax, peerId }: Start,
    logger: Logger,
    incidents: Incidents,
    certificate: Certificate | undefined,
    spans: CommitSpans | undefined,
  ) {
    const url = databaseUrl(settings);
    const pool = createLoggedPool(url, 'query', WORKER_QUERY_CONNECTIONS, { logger });
    this.#logger = logger;
    this.#isFar = settings.SNO_NATS_URL !== undefined;
    this.#certificate = certificate;
    this.#spans = spans;
    this.#desk = new RemoteDesk();
    const journal = new MemoryJournal({
      bytesMax: settings.SNO_REPLAY_BYTES,
      ageMaxMs: settings.SNO_REPLAY_SECONDS * 1_000,
      now: steadyNow,
      onRetained: (channel) => this.#reportRetained(channel),
      onReleased: (channel) => this.#reportReleased(channel),
    });
    const installation = new Installation(() => readInstallation(pool, settings.SNO_SLOT));
    this.#gateway = new GatewayRole({
      settings,
      databaseUrl: url,
      logger,
      metrics: this.#metrics,
      pool,
      journal,
      head: this.#replica,
      certificate,
      spans,
      clientsMax,
      otherFilesMax: WORKER_QUERY_CONNECTIONS,
      ...(this.#isFar ? { history: new StreamHistory(() => connectRelay(settings, logger), installation) } : {}),
      admission: this.#desk,
      incidents,
      peers: this.#peers,
      peerId,
    });
  }

  async hear(message: Exclude<ToWorker, Start>, socket: Socket | undefined): Promise<void> {
    switch (message.kind) {
      case 'relay': {
        const { buffer, byteOffset, length } = message.message;
        const steps = this.#joiner.take(Buffer.from(buffer, byteOffset, length));
        if (steps === undefined) return;
        this.#retainsReceived = message.retainsReceived;
        readSteps(steps, this);
        this.#gateway.flush();
        return;
      }
      case 'listen':
        await this.#gateway.prepare();
        tell({ kind: 'listening' });
        return;
      case 'socket':
        if (socket !== undefined) this.#gateway.enter(socket);
        tell({ kind: 'taken' });
        return;
      case 'open':
        await this.#gateway.open();
        tell({ kind: 'opened' });
        return;
      case 'suspend':
        return this.#gateway.suspend();
      case 'resume':
        return this.#gateway.resume();
      case 'drain':
        await this.#gateway.drain(message.seconds);
        await this.#spans?.stop();
        this.#logger.info('stopped');
        return process.exit(0);
      case 'admitted':
        this.#desk.answered(message.id, message.excess);
        return;
      case 'peers': {
        const { buffer, byteOffset, length } = message.message;
        this.#main.send(Buffer.from(buffer, byteOffset, length));
        return;
      }
      case 'ticket-keys':
        this.#certificate?.takeTicketKeys(Buffer.from(message.keys));
        return;
      case 'ask':
        tell({ kind: 'answer', id: message.id, answer: this.#gateway.desk.answer(message.question) });
        return;
      case 'measure':
        tell({ kind: 'measured', id: message.id, values: await this.#metrics.values() });
        return;
    }
  }

  // Steps of the stream:

  /**
   * Main may have just dropped channels of a commit in parts, because it knew no subscription to
   * them. Subscriptions that were not reported to main by then cannot continue.
   */
  moveTo(head: HeadState): void {
    const forgotten = this.#replica.moveTo(head);
    // Ingest on another machine knows no subscriptions: it sends a `cut` mark instead.
    if (this.#isFar) return;
    for (const pattern of forgotten)
      this.#gateway.hub.lag(pattern, (channel) => (this.#retained.get(channel) ?? 0) > this.#retainsReceived);
  }

  begin(beginning: Beginning): void {
    this.#gateway.begin(beginning);
  }

  append(batch: Batch): void {
    this.#replica.take(batch);
    this.#gateway.append(batch);
  }

  marker(id: string): void {
    this.#gateway.marker(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#gateway.define(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#gateway.setKnown(isKnown);
  }

  #reportRetained(channel: string): void {
    this.#retained.set(channel, ++this.#retainsSent);
    tell({ kind: 'retain', channel });
  }

  #reportReleased(channel: string): void {
    this.#retained.delete(channel);
    this.#retainsSent++;
    tell({ kind: 'release', channel });
  }
}

/** Connects to NATS. The NATS client is loaded only here. */
async function connectRelay(settings: Settings, logger: Logger): Promise<Relay> {
  const { Relay } = await import('../jetstream/connection.ts');
  return Relay.connect(relayOptions(settings, logger));
}

type Start = Extract<ToWorker, { readonly kind: 'start' }>;

async function start(message: Start): Promise<Worker> {
  const { settings, number, ticketKeys } = message;
  hideSecrets(secretValues(settings));
  const incidents = new Incidents();
  const logger = createLogger(settings.SNO_LOG_LEVEL, undefined, incidents).child({ worker: number });
  for (const event of ['uncaughtException', 'unhandledRejection'] as const)
    process.on(event, (error) => {
      logger.fatal({ err: error }, 'this is a bug, please report it');
      process.exit(1);
    });
  const certificate = await Certificate.load(
    settings,
    logger,
    ticketKeys === undefined ? undefined : Buffer.from(ticketKeys),
  );
  return new Worker(message, logger, incidents, certificate, await startCommitSpans(settings, logger));
}

async function fail(error: unknown): Promise<never> {
  if (!(error instanceof SnoError)) throw error;
  const failed: FromWorker = { kind: 'failed', code: error.code, message: error.message };
  await new Promise((resolve) => process.send?.(failed, undefined, undefined, resolve));
  process.exit(1);
}

assert(cluster.isWorker, 'it is started by main');
boundGarbage();
// Main receives these signals too, and tells the workers when to stop.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => undefined);
let worker: Promise<Worker> | undefined;
process.on('message', (message: ToWorker, socket: Socket | undefined) => {
  if (message.kind === 'start') {
    worker = start(message);
    worker.catch(fail);
  } else void worker?.then((started) => started.hear(message, socket));
});
tell({ kind: 'ready' });
