/** The rows of one channel, computed by docs/protocol.md alone. */
import { apply, compare, type Frame } from './frame.ts';

export class Held {
  readonly rows = new Map<string, string>();
  readonly violations: string[] = [];
  /** Position to resume after: the last whole commit, or later. */
  position: string | undefined;
  /** Position of the newest commit since the snapshot. */
  #newest: string | undefined;
  /** Whether the rows are complete. */
  #isWhole = false;
  /** Parts of a commit that is not complete yet. */
  #parts: Frame[] = [];

  take(frame: Frame): void {
    switch (frame.type) {
      case 'snapshot':
        if (frame.part === 1) {
          this.rows.clear();
          this.#newest = undefined;
          this.position = undefined;
        }
        for (const { key, data } of frame.rows ?? []) this.rows.set(JSON.stringify(key), JSON.stringify(data));
        if (frame.last === true) this.#isWhole = true;
        return;
      case 'subscribed':
        this.position = frame.position;
        return;
      case 'changes':
        return this.#change(frame);
      case 'reset':
        this.position = undefined;
        this.#parts = [];
        return;
      case 'message':
        // positions within a commit cannot be resumed from
        if (this.#parts.length === 0) this.position = frame.position;
        return;
    }
  }

  heartbeat(position: string): void {
    if (this.position !== undefined && this.#parts.length === 0) this.position = position;
  }

  /** Drops the parts of an incomplete commit when the connection ends. */
  disconnected(): void {
    this.#parts = [];
  }

  #change(frame: Frame): void {
    const { part, last, position = '' } = frame;
    if ((part ?? 1) !== this.#parts.length + 1) this.violations.push(`part ${part} after ${this.#parts.length}`);
    this.#parts.push(frame);
    if (last === false) return;
    if (this.#newest !== undefined && compare(this.#newest, position) >= 0)
      this.violations.push(`position ${position} after ${this.#newest}`);
    this.#newest = position;
    if (this.position !== undefined) this.position = position;
    for (const event of this.#parts.splice(0).flatMap(({ events }) => events ?? [])) {
      const wrong = apply(this.rows, event, this.#isWhole);
      if (wrong !== undefined) this.violations.push(wrong);
    }
  }
}
