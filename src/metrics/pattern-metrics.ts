/** The metrics by channel pattern: read at each scrape from the counts of all patterns. */
import { Counter, Gauge, type Registry } from 'prom-client';
import { type PatternCounts, Patterns } from './patterns.ts';

const PATTERN_COUNTERS = {
  events: ['sno_pattern_events_total', 'Channel events, by channel pattern. See sno_events_total.'],
  deliveries: ['sno_pattern_deliveries_total', 'Frames with events passed to client sockets, by channel pattern.'],
  denials: ['sno_pattern_denials_total', 'Errors sent to clients for a channel, by channel pattern.'],
  resets: ['sno_pattern_resets_total', 'Resets sent to subscribers, by channel pattern.'],
} as const satisfies Partial<Record<keyof PatternCounts, readonly [name: string, help: string]>>;

/** Creates the metrics. Returns the counts that they are read from. */
export function countedPatterns(registry: Registry): Patterns {
  const patterns = new Patterns();
  const registers = [registry];
  const labelNames = ['pattern'];
  for (const [key, [name, help]] of Object.entries(PATTERN_COUNTERS)) {
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [pattern, counts] of patterns) this.inc({ pattern }, counts[key as keyof typeof PATTERN_COUNTERS]);
      },
    });
  }
  new Gauge({
    name: 'sno_pattern_subscriptions',
    help: 'Current subscriptions, by channel pattern.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const [pattern, { subscriptions }] of patterns) this.set({ pattern }, subscriptions);
    },
  });
  new Gauge({
    name: 'sno_pattern_last_event_seconds',
    help: 'When the last event was committed, by channel pattern, in seconds since 1970.',
    labelNames,
    registers,
    // Only the process that reads the WAL knows it.
    aggregator: 'max',
    collect() {
      this.reset();
      for (const [pattern, { lastEventAt }] of patterns) if (lastEventAt > 0) this.set({ pattern }, lastEventAt);
    },
  });
  return patterns;
}
