/** A socket that accepts written bytes only when told to. */
import { Duplex } from 'node:stream';
import { FrameReader } from '../support/frames.ts';

export class SlowSocket<Message> extends Duplex {
  readonly reader = new FrameReader();
  readonly messages: Message[] = [];
  /** The same messages as text. */
  readonly texts: string[] = [];
  #taken: (() => void) | undefined;

  constructor(writableHighWaterMark: number) {
    super({ writableHighWaterMark });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#taken = () => {
      for (const text of this.reader.push(chunk)) {
        this.texts.push(text);
        this.messages.push(JSON.parse(text));
      }
      callback();
    };
  }

  /** Accepts up to `count` waiting chunks. The stream passes each next one in the same turn. */
  accept(count: number): void {
    for (let index = 0; index < count && this.#taken !== undefined; index++) {
      const taken = this.#taken;
      this.#taken = undefined;
      taken();
    }
  }
}
