/** How fast a number of bytes grows, over the last minute. */
interface Sample {
  readonly at: number;
  readonly bytes: number;
}

const WINDOW_MS = 60_000;
/** Minimum time span of a meaningful rate, in ms. */
const SPAN_MS_MIN = 10_000;

export class GrowthRate {
  #samples: Sample[] = [];

  /** Records the number at a time. `at`: in ms, later than in earlier calls. */
  add(at: number, bytes: number): void {
    this.#samples = [...this.#samples.filter((sample) => at - sample.at <= WINDOW_MS), { at, bytes }];
  }

  clear(): void {
    this.#samples = [];
  }

  /** Undefined while unknown. Negative if the number shrinks. */
  get bytesPerSecond(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < SPAN_MS_MIN) return undefined;
    return ((last.bytes - first.bytes) * 1_000) / (last.at - first.at);
  }
}
