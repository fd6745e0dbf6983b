/** Measures the stream periodically, for metrics. */
import type { StreamBounds } from './stored-stream.ts';

/** How often the stream is measured, in ms. */
const MEASURE_MS = 5_000;

/** The members of Relay that are measured. */
interface Measured {
  readonly isConnected: boolean;
  bounds(): Promise<StreamBounds | undefined>;
}

export class StreamWatch {
  readonly #stream: Measured;
  #timer: NodeJS.Timeout | undefined;
  #leader = '';
  /** How often the leader of the servers that store the stream was found to have changed. */
  leaderChanges = 0;
  /** The last measurement. Undefined: not measured yet, or NATS did not answer. */
  bounds: StreamBounds | undefined;

  constructor(stream: Measured) {
    this.#stream = stream;
  }

  start(): void {
    this.#timer = setInterval(() => void this.measure(), MEASURE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects. */
  async measure(): Promise<void> {
    this.bounds = this.#stream.isConnected ? await this.#stream.bounds().catch(() => undefined) : undefined;
    // While servers elect a leader, the stream has none.
    const leader = this.bounds?.cluster?.leader ?? '';
    if (leader === '' || leader === this.#leader) return;
    if (this.#leader !== '') this.leaderChanges++;
    this.#leader = leader;
  }
}
