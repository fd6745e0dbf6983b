/** An answer that is reused for all requests within `ms`. */
export class Remembered<Answer> {
  readonly #ms: number;
  readonly #make: () => Promise<Answer>;
  #answer: Promise<Answer> | undefined;
  #at = 0;

  constructor(ms: number, make: () => Promise<Answer>) {
    this.#ms = ms;
    this.#make = make;
  }

  get(): Promise<Answer> {
    const now = performance.now();
    if (this.#answer !== undefined && now - this.#at < this.#ms) return this.#answer;
    this.#at = now;
    this.#answer = this.#make();
    // An error is not remembered.
    this.#answer.catch(() => {
      this.#answer = undefined;
    });
    return this.#answer;
  }
}
