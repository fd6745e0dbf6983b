/** Memory and CPU time of this process. */
import type { ProcessFacts } from './questions.ts';

const MICROSECONDS = 1_000_000;
/** Minimum time for a new average, in ms: two dashboards would otherwise shorten it. */
const SPAN_MS_MIN = 500;

export class ProcessMeter {
  readonly #startedAt = Date.now() - Math.round(process.uptime() * 1_000);
  #last = { at: performance.now() - process.uptime() * 1_000, seconds: 0 };
  #cores = 0;

  get facts(): Omit<ProcessFacts, 'connections' | 'subscriptions' | 'backedUp'> {
    const { user, system } = process.cpuUsage();
    const seconds = (user + system) / MICROSECONDS;
    const at = performance.now();
    const spanMs = at - this.#last.at;
    if (spanMs >= SPAN_MS_MIN) {
      this.#cores = ((seconds - this.#last.seconds) * 1_000) / spanMs;
      this.#last = { at, seconds };
    }
    const { rss, heapUsed } = process.memoryUsage();
    return {
      pid: process.pid,
      startedAt: this.#startedAt,
      rssBytes: rss,
      heapBytes: heapUsed,
      cpuCores: this.#cores,
      cpuSeconds: seconds,
    };
  }
}
