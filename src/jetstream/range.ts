/** Reads a part of the stream. */
import { SnoError } from '../errors.ts';
import type { Relay } from './connection.ts';
import type { StreamMessage } from './stream-message.ts';

export type RangeRelay = Pick<Relay, 'follow'>;

/** How long to wait for the next message, in ms. */
const NEXT_MS = 5_000;

/**
 * Yields the messages from one sequence to another, in order. Throws `relay_unreachable` if they
 * stop arriving. Messages that the stream has dropped meanwhile are missing.
 */
export async function* readRange(relay: RangeRelay, from: number, to: number): AsyncGenerator<StreamMessage> {
  if (from > to) return;
  const waiting: StreamMessage[] = [];
  let isBroken = false;
  let wake = () => {};
  const end = await relay.follow(
    from,
    (message) => {
      waiting.push(message);
      wake();
    },
    () => {
      isBroken = true;
      wake();
    },
  );
  try {
    for (;;) {
      const message = waiting.shift();
      if (message !== undefined) {
        if (message.sequence <= to) yield message;
        if (message.sequence >= to) return;
        continue;
      }
      if (isBroken) throw new SnoError('relay_unreachable', 'the stream of NATS broke off while it was read');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          isBroken = true;
          resolve();
        }, NEXT_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    end();
  }
}
