/**
 * How bytes for clients are made. Each wire form of a protocol has one encoding object, for as long
 * as the service runs. All connections that speak it share the object. So the fan-out makes bytes
 * once for all of them.
 *
 * Snö's own websocket frames, plain and compressed: gateway/sno/encodings.ts.
 */
import type { Entry } from '../commit/entry.ts';
import type { Payload } from '../memory/payload.ts';
import type { ServerFrame } from '../protocol.ts';

/**
 * Each method returns whole frames, or whatever the protocol's units are. They are shared, and
 * never changed afterwards. An empty buffer: the protocol sends nothing.
 */
export interface Encoding {
  /** Encodes `changes` or a `message`. Encodings that do work here keep it with EncodedForms. */
  entry(entry: Entry): Buffer;
  /** Encodes a piece of a snapshot. A promise: it is made on another thread. */
  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer>;
  /** Encodes all other frames, such as `subscribed`, `reset` and `heartbeat`. */
  control(frame: ServerFrame): Buffer;
}
