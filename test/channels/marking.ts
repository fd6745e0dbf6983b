/** The marks for access checks that a router makes from pgoutput messages. */
import type { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import type { EventSink } from '../../src/channels/events.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { Router } from '../../src/channels/router.ts';
import { PgoutputDecoder } from '../../src/decode/pgoutput.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { PatternCounts } from '../../src/metrics/patterns.ts';

/**
 * A decoder that feeds a router. `take` returns the patterns and channels marked for checks since
 * the last call, some with the only user concerned.
 */
export function marking(registry: ChannelRegistry) {
  const marked = new Set<string>();
  const nothing = () => undefined;
  const sink: EventSink = {
    begin: () => true,
    bytes: new ByteWriter(),
    trace: nothing,
    event: nothing,
    truncate: nothing,
    message: nothing,
    incomplete: nothing,
    redefined: nothing,
    touched: nothing,
    recheck: (_schema, pattern, channel, claim) =>
      void marked.add(`${channel ?? pattern}${claim === undefined ? '' : ` ${claim.name}=${claim.text}`}`),
    commit: nothing,
  };
  const router = new Router(registry, sink, new RemoteAnswers(), {
    catalog: () => [],
    marker: nothing,
    dropped: nothing,
    counted: nothing,
    committed: nothing,
    countsOf: () => new PatternCounts(),
    unfit: nothing,
    fit: nothing,
    failed: nothing,
  });
  const take = () => {
    const taken = new Set(marked);
    marked.clear();
    return taken;
  };
  return { decoder: new PgoutputDecoder(router), take };
}
