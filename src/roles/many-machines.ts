/**
 * Several machines: one of them reads the WAL and publishes its steps in a JetStream stream. All
 * machines that serve clients follow the stream, including the one that publishes.
 *
 *     ingest (or standby) -> stream -> gateways
 */

import { SnoError } from '../errors.ts';
import { Relay } from '../jetstream/connection.ts';
import { StreamFollowing } from '../jetstream/follower.ts';
import { StreamHistory } from '../jetstream/history.ts';
import { joinMachines } from '../jetstream/machines.ts';
import { relayOptions } from '../jetstream/relay-options.ts';
import { StreamWatch } from '../jetstream/stream-watch.ts';
import { MemoryJournal } from '../journal/memory.ts';
import { PeerSwitch } from '../peers/peer-switch.ts';
import { Installation, readInstallation } from '../relay/installation.ts';
import { DatabaseSetup } from '../setup/database-setup.ts';
import { steadyNow } from '../steady-clock.ts';
import type { Unready } from '../unready.ts';
import type { Composition, CompositionOptions } from './composition.ts';
import { CutOffWatch } from './cut-off.ts';
import { GatewayFollower } from './gateway-follower.ts';
import type { Gateways } from './gateways.ts';
import { localGateways } from './local-gateways.ts';
import { IngestStandby, unpublishedMs } from './standby.ts';

/** Maximum time that a process takes to leave the slot, in ms. */
const LEAVES_WITHIN_MS = 1_500;

export class ManyMachines implements Composition {
  readonly #options: CompositionOptions;
  readonly #follower = new GatewayFollower();
  readonly #gateways: Gateways | undefined;
  readonly #peers = new PeerSwitch();
  readonly #installation: Installation;
  #relay: Relay | undefined;
  #standby: IngestStandby | undefined;
  #following: StreamFollowing | undefined;
  #cutOff: CutOffWatch | undefined;
  #watch: StreamWatch | undefined;
  #isStopped = false;

  constructor(options: CompositionOptions) {
    this.#options = options;
    const { pool, settings } = options;
    this.#installation = new Installation(() => readInstallation(pool, settings.SNO_SLOT));
    if (settings.SNO_ROLE === 'ingest') return;
    this.#gateways = this.#createGateways();
    this.#follower.setGateways(this.#gateways);
  }

  async listen(): Promise<number> {
    return (await this.#gateways?.listen()) ?? 0;
  }

  async prepare(): Promise<void> {
    // A gateway changes nothing in the database: its role may lack the privileges.
    if (this.#options.settings.SNO_ROLE !== 'gateway') await new DatabaseSetup(this.#options).prepare();
  }

  async start(): Promise<void> {
    const { settings, logger, pool, metrics, onBug } = this.#options;
    const relay = await Relay.connectPatiently(relayOptions(settings, logger), () => !this.#isStopped);
    if (relay === undefined) return;
    this.#relay = relay;
    logger.info({ server: relay.serverVersion, stream: settings.SNO_NATS_STREAM }, 'connected to NATS');
    if (settings.SNO_ROLE !== 'gateway') {
      this.#standby = new IngestStandby({
        ...this.#options,
        relay,
        installation: this.#installation,
        followedSequence: () => this.#follower.head.sequence,
      });
      this.#standby.start();
    }
    if (this.#gateways === undefined) return;
    const gateways = this.#gateways;
    joinMachines(relay, this.#peers);
    const following = new StreamFollowing({
      relay,
      stream: settings.SNO_NATS_STREAM,
      installation: this.#installation,
      steps: this.#follower,
      now: steadyNow,
      logger,
      onHole: () => metrics.relayHoles.inc(),
      onFailed: onBug,
    });
    this.#following = following;
    this.#cutOff = new CutOffWatch({
      pool,
      slot: settings.SNO_SLOT,
      silenceMsMax: settings.SNO_RELAY_SILENCE_SECONDS * 1_000,
      silenceMs: () => following.silenceMs,
      hasMore: async () => ((await relay.bounds())?.last ?? 0) > (following.sequence ?? 0),
      unpublishedMs: unpublishedMs(settings) + LEAVES_WITHIN_MS,
      logger,
      onCutOff: () => gateways.suspend(),
      onBack: () => gateways.resume(),
    });
    this.#observe(relay, following);
    await following.start();
    this.#cutOff.start();
  }

  async open(): Promise<void> {
    await this.#gateways?.open();
  }

  async drain(): Promise<void> {
    // Another machine reads the WAL meanwhile, and the clients of this one are served to the end.
    await this.#standby?.stop();
    await this.#gateways?.drain();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watch?.stop();
    this.#cutOff?.stop();
    this.#following?.stop();
    await this.#standby?.stop();
    await this.#gateways?.stop();
    await this.#relay?.close();
  }

  get unready(): Unready | undefined {
    if (this.#relay?.isConnected !== true) return unready('nats', 'not connected to NATS', this.#relay?.fault);
    if (this.#cutOff?.isCutOff === true) return unready('stream', 'cut off from the stream');
    const fault = this.#standby?.fault;
    if (fault !== undefined) return unready('stream', 'the stream takes no steps', fault);
    const unfollowed = this.#following?.unready;
    if (unfollowed === undefined) return this.#gateways?.unready;
    const { fault: refused } = this.#relay;
    return unready('stream', unfollowed, refused !== undefined && unfollowed.includes(refused) ? undefined : refused);
  }

  get channelCount(): number {
    return this.#standby?.channelCount ?? this.#follower.channelCount;
  }

  get metrics(): Gateways['metrics'] {
    return this.#gateways?.metrics ?? this.#options.metrics;
  }

  #createGateways(): Gateways {
    const { settings } = this.#options;
    const follower = this.#follower;
    const journal = new MemoryJournal({
      bytesMax: settings.SNO_REPLAY_BYTES,
      ageMaxMs: settings.SNO_REPLAY_SECONDS * 1_000,
      now: steadyNow,
    });
    const source = {
      journal,
      head: follower.head,
      get definitions() {
        return follower.definitions;
      },
    };
    // The stream cannot be held for workers: a worker that stays behind is killed.
    const hold = () => undefined;
    const history = new StreamHistory(async () => this.#connected(), this.#installation);
    return localGateways(this.#options, { source, history, peers: this.#peers, hold, release: hold });
  }

  #connected(): Relay {
    if (this.#relay === undefined) throw new SnoError('relay_unreachable', 'this process is not connected to NATS yet');
    return this.#relay;
  }

  #observe(relay: Relay, following: StreamFollowing): void {
    const { metrics } = this.#options;
    const watch = new StreamWatch(relay);
    this.#watch = watch;
    watch.start();
    metrics.observe({
      relaySequence: () => following.sequence,
      relaySilence: () => following.silenceMs / 1_000,
      relayCutOff: () => Number(this.#cutOff?.isCutOff === true),
      relayStreamMessages: () => watch.bounds?.count,
      relayStreamBytes: () => watch.bounds?.bytes,
      relayStreamAge: () =>
        watch.bounds === undefined || watch.bounds.count === 0
          ? undefined
          : (Date.now() - watch.bounds.firstAt) / 1_000,
      relayLag: () =>
        watch.bounds === undefined ? undefined : Math.max(0, watch.bounds.last - (following.sequence ?? 0)),
      relayLeaderChanges: () => watch.leaderChanges,
    });
  }
}

function unready(why: Unready['why'], what: string, fault?: string): Unready {
  return fault === undefined ? { why, text: what } : { why, text: `${what}: ${fault}`, fault };
}
