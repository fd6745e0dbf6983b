/**
 * How long commits took to arrive here. Postgres and this browser run on one machine, so they share
 * a clock.
 */
import { byId, element } from './element.ts';

const SAMPLES_MAX = 1_000;
/** Upper bounds of the histogram's bars, in milliseconds; the last bar takes the rest. */
const BOUNDS_MS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64] as const;

/**
 * A wall clock that is finer than Date.now(), which drops fractions of milliseconds: of the last
 * differences between it and the steady clock, the greatest has lost least.
 */
class WallClock {
  readonly #differences: number[] = [];

  /** Milliseconds since 1970. */
  now(): number {
    const steady = performance.now();
    this.#differences.push(Date.now() - steady);
    if (this.#differences.length > 64) this.#differences.shift();
    return steady + Math.max(...this.#differences);
  }
}

const clock = new WallClock();

/** Returns the milliseconds since a timestamp with microseconds, as in `committed_at`. */
export function millisecondsSince(committedAt: string): number {
  const [whole, fraction = '0'] = committedAt.replace(/Z$/, '').split('.') as [string, string?];
  const committed = Date.parse(`${whole}Z`) + Number(`0.${fraction}`) * 1_000;
  return Math.max(0, clock.now() - committed);
}

export function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export class LatencyPanel {
  readonly #samples: number[] = [];
  #count = 0;
  readonly #bars = [...BOUNDS_MS, Number.POSITIVE_INFINITY].map((bound, index) => {
    const fill = element('i');
    const label = bound === Number.POSITIVE_INFINITY ? `${BOUNDS_MS.at(-1)}+` : String(bound);
    byId('histogram').append(element('div', {}, fill, element('span', {}, index % 2 === 1 ? label : '')));
    return fill;
  });
  #drawing = false;

  add(ms: number): void {
    this.#samples.push(ms);
    this.#count++;
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#draw();
    });
  }

  #draw(): void {
    const sorted = this.#samples.toSorted((a, b) => a - b);
    const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;
    const [median, p99] = [formatMs(quantile(0.5)), formatMs(quantile(0.99))];
    byId('latency-last').textContent = formatMs(this.#samples.at(-1) as number);
    byId('latency-p50').textContent = median;
    byId('latency-p99').textContent = p99;
    byId('latency-count').textContent =
      `${this.#count.toLocaleString('en')} ${this.#count === 1 ? 'commit' : 'commits'} seen here`;
    byId('histogram').setAttribute(
      'aria-label',
      `Histogram of the last ${sorted.length} commits: median ${median}, p99 ${p99}`,
    );

    const counts = this.#bars.map(() => 0);
    for (const sample of sorted) {
      const bar = BOUNDS_MS.findIndex((bound) => sample < bound);
      const index = bar < 0 ? counts.length - 1 : bar;
      counts[index] = (counts[index] as number) + 1;
    }
    const most = Math.max(...counts);
    for (const [index, bar] of this.#bars.entries()) {
      const share = (counts[index] as number) / most;
      bar.style.height = share === 0 ? '0' : `max(3px, ${share * 100}%)`;
    }
  }
}
