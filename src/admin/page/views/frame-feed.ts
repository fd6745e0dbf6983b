import type { FrameLine, LiveFrame } from '../../api/types.ts';
import type { Server } from '../server.ts';

const FRAMES_MAX = 100;
const RETRY_MS = 2_000;

/** A frame, and how many frames before it were not shown. */
export interface ShownFrame {
  readonly number: number;
  readonly frame: LiveFrame;
  readonly skippedBefore: number;
}

/** Follows the live frames of a channel. A hidden tab does not follow them. */
export class FrameFeed {
  readonly #server: Server;
  readonly #channel: string;
  readonly #changed: () => void;
  #abort: AbortController | undefined;
  #frames: readonly ShownFrame[] = [];
  #skipped = 0;
  #number = 0;
  #problem: string | undefined;
  #hasValues = false;
  #isPaused = false;

  constructor(server: Server, channel: string, onChange: () => void) {
    this.#server = server;
    this.#channel = channel;
    this.#changed = onChange;
    document.addEventListener('visibilitychange', this.#reconcile);
    this.#reconcile();
  }

  /** Newest first. */
  get frames(): readonly ShownFrame[] {
    return this.#frames;
  }

  /** Why no frames arrive now. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get hasValues(): boolean {
    return this.#hasValues;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Shows or hides the values of rows. Hidden values are not even sent. */
  showValues(hasValues: boolean): void {
    this.#hasValues = hasValues;
    this.#frames = [];
    this.#stop();
    this.#reconcile();
    this.#changed();
  }

  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#reconcile();
    this.#changed();
  }

  close(): void {
    document.removeEventListener('visibilitychange', this.#reconcile);
    this.#stop();
  }

  readonly #reconcile = (): void => {
    const isWanted = !document.hidden && !this.#isPaused;
    if (!isWanted) this.#stop();
    else if (this.#abort === undefined) this.#start();
  };

  #start(): void {
    const abort = new AbortController();
    this.#abort = abort;
    const path = `api/channel/frames?name=${encodeURIComponent(this.#channel)}&values=${this.#hasValues}`;
    const follow = async (): Promise<void> => {
      const fault = await this.#server.follow(path, abort.signal, (line) => this.#receive(line as FrameLine));
      if (abort.signal.aborted) return;
      if (fault !== undefined) this.#problem = `${fault.code}: ${fault.message}`;
      this.#changed();
      window.setTimeout(() => void (abort.signal.aborted || follow()), RETRY_MS);
    };
    void follow();
  }

  #stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
  }

  #receive(line: FrameLine): void {
    this.#problem = line.kind === 'end' ? line.reason : undefined;
    if (line.kind === 'skipped') this.#skipped += line.frames;
    // A feed that begins again repeats the newest frames.
    if (line.kind === 'frame' && !this.#frames.some(({ frame }) => frame.position === line.position)) {
      const shown = { number: this.#number++, frame: line, skippedBefore: this.#skipped };
      this.#skipped = 0;
      this.#frames = [shown, ...this.#frames].slice(0, FRAMES_MAX);
    }
    this.#changed();
  }
}
