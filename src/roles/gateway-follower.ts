/** Passes the steps of the stream between machines to the gateways of this machine. */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import type { FollowedSteps } from '../jetstream/follower.ts';
import type { BacklogSource } from '../relay/backlog.ts';
import type { Beginning } from '../relay/follower.ts';
import { type HeadState, Replica } from '../relay/replica.ts';
import type { Gateways } from './gateways.ts';

const NEVER = new Promise<void>(() => undefined);

export class GatewayFollower implements FollowedSteps {
  /** The head of the stream. */
  readonly head = new Replica();
  #gateways: Gateways | undefined;
  #served: ServedDefinitions | undefined;
  #isKnown = false;

  /** Sets the gateways. Call it before the stream is followed. */
  setGateways(gateways: Gateways): void {
    this.#gateways = gateways;
  }

  /** The definitions in force, for workers that join later. */
  get definitions(): BacklogSource['definitions'] {
    return { served: this.#served as ServedDefinitions, known: this.#isKnown ? undefined : NEVER };
  }

  /** Number of channel views that are served. */
  get channelCount(): number {
    return this.#served?.served.length ?? 0;
  }

  moveTo(head: HeadState): void {
    this.head.moveTo(head);
  }

  begin(beginning: Beginning): void {
    this.#served = beginning.definitions;
    this.#isKnown = beginning.isKnown;
    this.#gateways?.begin(beginning);
  }

  append(batch: Batch): void {
    this.head.take(batch);
    this.#gateways?.append(batch);
  }

  marker(id: string): void {
    this.#gateways?.marker(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#served = definitions;
    this.#gateways?.define(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#isKnown = isKnown;
    this.#gateways?.setKnown(isKnown);
  }

  get burstBytes(): number {
    return this.#gateways?.burstBytes ?? 0;
  }

  flush(): void {
    this.#gateways?.flush();
  }
}
