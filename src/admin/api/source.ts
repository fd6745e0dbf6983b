/** The facts of the service that the admin API needs. roles/inspect provides them. */
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
  Incidents,
  Processes,
  Rates,
  Session,
  Slot,
} from './types.ts';

export interface Slice {
  readonly offset: number;
  readonly limit: number;
  /** Empty: everything matches. */
  readonly search: string;
}

export interface ConnectionsQuery extends Slice {
  /** Undefined: connections with any channels, or without one. */
  readonly channel: string | undefined;
}

/** Frames of one channel that have arrived since the last call. */
export interface FreshFrames {
  /** Oldest first. `text`: undefined if the frame is too large to be shown. */
  readonly frames: readonly {
    readonly position: string;
    readonly bytes: number;
    readonly text: Buffer | undefined;
  }[];
  /** Number of earlier frames that are left out. */
  readonly skipped: number;
}

/** Returns the frames since the last call, at most `max`. The first call returns recent ones. */
export type FrameReader = (max: number) => FreshFrames;

export interface AdminSource {
  session(): Omit<Session, 'authorization'>;
  health(): Promise<Health>;
  /** Samples after this time, in ms since 1970. */
  rates(after: number): Promise<Rates>;
  slot(): Promise<Slot>;
  channels(slice: Slice): Promise<ChannelViews>;
  activeChannels(pattern: string, limit: number): Promise<ActiveChannels>;
  channel(name: string, limit: number): Promise<ChannelInfo>;
  /** Undefined: no journal here has channels. */
  frames(name: string): FrameReader | undefined;
  explain(request: ExplainRequest): Promise<Explanation>;
  connections(query: ConnectionsQuery): Promise<Connections>;
  disconnect(connection: string): Promise<DisconnectAnswer>;
  incidents(kind: Incident['kind'] | undefined): Promise<Incidents>;
  settings(): EffectiveSettings;
  processes(): Promise<Processes>;
}
