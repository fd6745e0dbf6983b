/**
 * Answers the admin API from the parts of the service. Between two requests nothing runs here,
 * except the sampling of rates (admin/api/rates.ts).
 */

import type pg from 'pg';
import { accessWarnings, createTokens } from '../../access/token.ts';
import { type HealthFacts, healthOf } from '../../admin/api/health.ts';
import { RateSampler } from '../../admin/api/rates.ts';
import { effectiveSettings } from '../../admin/api/settings.ts';
import type { AdminSource, ConnectionsQuery, FrameReader, Slice } from '../../admin/api/source.ts';
import type {
  ActiveChannels,
  ChannelInfo,
  ChannelViews,
  Connections,
  DisconnectAnswer,
  EffectiveSettings,
  ExplainRequest,
  Explanation,
  Health,
  Incident,
  Incidents as IncidentList,
  Processes,
  Rates,
  Session,
  Slot,
} from '../../admin/api/types.ts';
import type { SettingSources } from '../../config/read.ts';
import type { Settings } from '../../config/settings.ts';
import { SnoError } from '../../errors.ts';
import { type Incidents, mergeIncidents } from '../../metrics/incidents.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { Unready } from '../../unready.ts';
import { Explainer } from '../explain/explainer.ts';
import { activeChannels, channelInfo } from './channel-info.ts';
import { type PatternActivity, patternsFound, refusalsIn, viewInfos } from './channel-views.ts';
import { frameReader } from './frames.ts';
import { KnownNames } from './known-names.ts';
import { NO_CHANNELS, totalsOf } from './pattern-channels.ts';
import { ProcessMeter } from './process-meter.ts';
import { processInfos } from './processes.ts';
import type { AnswerTo, GatewayAnswer, GatewayQuestion } from './questions.ts';
import { relayInfo } from './relay-info.ts';
import { Remembered } from './remembered.ts';
import { slotView } from './slot-view.ts';
import type { ServiceView } from './view.ts';

export interface InspectorOptions {
  readonly settings: Settings;
  /** Where each setting comes from. Undefined: unknown. */
  readonly sources: SettingSources | undefined;
  readonly version: string;
  readonly databaseUrl: string;
  readonly pool: Pick<pg.Pool, 'query'>;
  readonly incidents: Incidents;
  readonly metrics: Pick<Metrics, 'values'>;
  readonly view: () => ServiceView;
  /** Why /readyz answers 503. */
  readonly unready: () => Unready | undefined;
  readonly certificateExpiresAt: () => number | undefined;
}

/** How long costly answers are reused, in ms. */
const REMEMBERED_MS = 1_000;

export class Inspector implements AdminSource {
  readonly #options: InspectorOptions;
  readonly #startedAt = Date.now();
  readonly #meter = new ProcessMeter();
  readonly #rates: RateSampler;
  readonly #explainer: Explainer;
  readonly #known: KnownNames;
  readonly #slot: Remembered<Slot>;
  readonly #processes: Remembered<Processes & { readonly backedUp: number }>;

  constructor(options: InspectorOptions) {
    const { settings, databaseUrl, pool, metrics, view } = options;
    this.#options = options;
    this.#known = new KnownNames(() => view().definitions);
    this.#rates = new RateSampler(() => metrics.values());
    this.#explainer = new Explainer({
      databaseUrl,
      settings,
      tokens: () => createTokens(settings),
      definitions: () => view().definitions,
      refusalsOf: (pattern) => refusalsIn(view()).filter((refusal) => refusal.pattern === pattern),
    });
    this.#slot = new Remembered(REMEMBERED_MS, () => slotView(pool, settings, view()));
    this.#processes = new Remembered(REMEMBERED_MS, () => this.#readProcesses());
  }

  async stop(): Promise<void> {
    this.#rates.stop();
    await this.#explainer.close().catch(() => undefined);
  }

  session(): Omit<Session, 'authorization'> {
    const { settings, version } = this.#options;
    return {
      version,
      role: settings.SNO_ROLE,
      slot: settings.SNO_SLOT,
      publication: settings.SNO_PUBLICATION,
      isSeveralMachines: settings.SNO_NATS_URL !== undefined,
      workers: settings.SNO_WORKERS,
      startedAt: this.#startedAt,
      now: Date.now(),
    };
  }

  async health(): Promise<Health> {
    const { settings, unready, view, certificateExpiresAt } = this.#options;
    const [slot, { processes, machine, backedUp }, { incidents }] = await Promise.all([
      this.slot(),
      this.#processes.get(),
      this.incidents(undefined),
    ]);
    const expiresAt = certificateExpiresAt();
    const facts: HealthFacts = {
      at: Date.now(),
      unready: unready(),
      slot: settings.SNO_ROLE === 'gateway' ? null : slot,
      refusals: refusalsIn(view()),
      incidents,
      processes,
      relay: machine.relay,
      slowConnections: backedUp,
      certificate: expiresAt === undefined ? undefined : { file: settings.SNO_TLS_CERT ?? '', expiresAt },
      accessWarnings: accessWarnings(settings),
      isSeveralMachines: settings.SNO_NATS_URL !== undefined,
    };
    return healthOf(facts);
  }

  rates(after: number): Promise<Rates> {
    return this.#rates.rates(after);
  }

  slot(): Promise<Slot> {
    return this.#slot.get();
  }

  async channels({ offset, limit, search }: Slice): Promise<ChannelViews> {
    const view = this.#options.view();
    const found = patternsFound(view, search);
    const patterns = found.slice(offset, offset + limit);
    const views = viewInfos(view, patterns, await this.#activity(patterns));
    return { total: found.length, offset, limit, isIngest: view.ingest !== undefined, views };
  }

  async channel(name: string, limit: number): Promise<ChannelInfo> {
    const unknown = new SnoError('try_again', 'the definitions of channels are not known yet');
    const answers = await this.#ask({ kind: 'subscribers', channel: name, top: limit });
    return channelInfo(this.#options.view(), name, this.#known.names?.resolve(name) ?? unknown, answers, limit);
  }

  async activeChannels(pattern: string, limit: number): Promise<ActiveChannels> {
    return activeChannels(pattern, await this.#ask({ kind: 'active', pattern }), limit);
  }

  frames(name: string): FrameReader | undefined {
    const { journal } = this.#options.view();
    return journal === undefined ? undefined : frameReader(journal, () => this.#options.view().epoch, name);
  }

  explain(request: ExplainRequest): Promise<Explanation> {
    return this.#explainer.explain(request);
  }

  async connections({ offset, limit, search, channel }: ConnectionsQuery): Promise<Connections> {
    const answers = await this.#ask({ kind: 'connections', top: offset + limit, search, channel });
    const all = answers.flatMap(({ worker, answer }) =>
      (answer?.connections ?? []).map((connection) => ({ ...connection, worker })),
    );
    all.sort(
      (a, b) => b.behindFrames - a.behindFrames || b.waitingBytes - a.waitingBytes || a.connectedAt - b.connectedAt,
    );
    const sum = (of: (answer: AnswerTo<{ kind: 'connections' } & GatewayQuestion>) => number) =>
      answers.reduce((total, { answer }) => total + (answer === undefined ? 0 : of(answer)), 0);
    return {
      total: sum(({ matching }) => matching),
      offset,
      limit,
      connections: all.slice(offset, offset + limit),
      open: sum(({ open }) => open),
      slow: sum(({ slow }) => slow),
      silentWorkers: silentIn(answers),
    };
  }

  async disconnect(connection: string): Promise<DisconnectAnswer> {
    const answers = await this.#ask({ kind: 'disconnect', connection });
    return { isDisconnected: answers.some(({ answer }) => answer === true), silentWorkers: silentIn(answers) };
  }

  async incidents(kind: Incident['kind'] | undefined): Promise<IncidentList> {
    const answers = await this.#ask({ kind: 'incidents' });
    const others = answers.flatMap(({ worker, answer }) => (worker === null || answer === undefined ? [] : [answer]));
    const incidents = mergeIncidents([this.#options.incidents.list, ...others]);
    return { incidents: incidents.filter((incident) => kind === undefined || incident.kind === kind) };
  }

  settings(): EffectiveSettings {
    const { settings, sources } = this.#options;
    return { settings: effectiveSettings(settings, sources) };
  }

  async processes(): Promise<Processes> {
    const { processes, machine } = await this.#processes.get();
    return { processes, machine };
  }

  async #readProcesses(): Promise<Processes & { readonly backedUp: number }> {
    const { settings, unready, view } = this.#options;
    const isFollowing = settings.SNO_NATS_URL !== undefined;
    const [answers, { holder }, values] = await Promise.all([
      this.#ask({ kind: 'process' }),
      this.slot(),
      isFollowing ? this.#options.metrics.values() : [],
    ]);
    const { workers, ingest } = view();
    const relay = isFollowing ? relayInfo(values, settings.SNO_NATS_STREAM, unready()) : null;
    return {
      processes: processInfos(this.#meter.facts, unready() === undefined, workers, answers),
      machine: { role: settings.SNO_ROLE, isIngesting: ingest !== undefined, holder, relay },
      backedUp: answers.reduce((count, { answer }) => count + (answer?.backedUp ?? 0), 0),
    };
  }

  async #activity(patterns: readonly string[]): Promise<(pattern: string) => PatternActivity> {
    const isCompared = this.#options.settings.SNO_WORKERS > 1;
    const [{ totals, spanSeconds, perSecond }, answers] = await Promise.all([
      this.#rates.patternRates(),
      this.#ask({ kind: 'channels', patterns, isCompared }),
    ]);
    const live = totalsOf(answers.flatMap(({ answer }) => answer ?? []));
    return (pattern) => {
      const counts = totals?.patterns.get(pattern);
      const isCounted = totals !== undefined && this.#options.view().ingest !== undefined;
      const { channels, isExact, subscribers } = live.get(pattern) ?? NO_CHANNELS;
      return {
        channels,
        isChannelCountExact: isExact,
        subscribers,
        events: isCounted ? { total: counts?.events ?? 0, perSecond: perSecond(pattern) ?? null, spanSeconds } : null,
        lastEventAt: counts?.lastEventAt === undefined ? null : counts.lastEventAt * 1_000,
      };
    };
  }

  async #ask<Question extends GatewayQuestion>(
    question: Question,
  ): Promise<readonly GatewayAnswer<AnswerTo<Question>>[]> {
    return (await this.#options.view().ask?.(question)) ?? [];
  }
}

const silentIn = (answers: readonly GatewayAnswer<unknown>[]): number[] =>
  answers.flatMap(({ worker, answer }) => (answer === undefined && worker !== null ? worker : []));
