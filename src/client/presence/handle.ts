/** The types of presence handles. */
import type { Channel, ChannelOptions } from '../channel.ts';
import type { SnoClientError } from '../error.ts';
import type { ChannelStatus } from '../state/machine.ts';

/** A client of `connect()`. */
export interface Client {
  channel(
    name: string,
    options?: Pick<ChannelOptions, 'waitForAccess'>,
  ): Pick<Channel, 'status' | 'error' | 'on' | 'close'>;
}

export interface Member<Info = Readonly<Record<string, unknown>>> {
  readonly id: string;
  /** What the presence view shows of the member. */
  readonly info: Info;
}

export interface PresenceUpdate<Info> {
  readonly members: readonly Member<Info>[];
  /** New members, and members whose `info` has changed. */
  readonly joined: readonly Member<Info>[];
  readonly left: readonly Member<Info>[];
  readonly status: ChannelStatus;
}

export interface PresenceOptions {
  /** Show the members without appearing among them. */
  readonly watch?: boolean | undefined;
  /**
   * If access to the channel is denied or revoked, retry until it is granted. It does not concern
   * the presence view. Default: false.
   */
  readonly waitForAccess?: boolean | undefined;
}

export interface Presence<Info = Readonly<Record<string, unknown>>> {
  readonly channel: string;
  readonly status: ChannelStatus;
  /** Why the status is `error` or `closed`. A refusal of presence ends no other handle. */
  readonly error: SnoClientError | undefined;
  /** The same array until the members change. While the connection is lost: the last ones. */
  readonly members: readonly Member<Info>[];
  /**
   * Calls the listener after each change of the members and of the status. Returns a function that
   * removes the listener.
   */
  subscribe(listener: (update: PresenceUpdate<Info>) => void): () => void;
  close(): void;
}
